"""Provide the command line `epm`."""
