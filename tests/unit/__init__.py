"""Test one room at a time."""
