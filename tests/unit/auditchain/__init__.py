"""Test the audit chain by itself."""
