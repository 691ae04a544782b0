"""Translate between the nouns of the kernel and the messages of epm.elevation.v1."""
