"""A past that reports are measured on, and what is asked of it."""
