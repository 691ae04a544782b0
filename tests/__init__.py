"""Test OpenEPM: unit tests, the store contract, and whole journeys."""
