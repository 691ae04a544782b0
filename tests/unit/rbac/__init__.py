"""Test the rbac service."""
