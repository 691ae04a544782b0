"""Test the reporting service."""
