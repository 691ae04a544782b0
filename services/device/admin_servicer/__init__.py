"""Answer administrators on the public door."""
