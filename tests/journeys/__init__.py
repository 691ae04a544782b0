"""Test the whole system as its users meet it."""
