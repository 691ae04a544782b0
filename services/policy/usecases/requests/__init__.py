"""Elevation requests: ask, decide, hear, watch."""
