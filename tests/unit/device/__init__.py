"""Test the device service."""
