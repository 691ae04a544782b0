"""Test that every implementation of a port keeps the same promises."""
