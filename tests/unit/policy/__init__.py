"""Test the policy service."""
