"""Test the chassis."""
