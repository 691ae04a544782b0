"""The nouns of the device service and their invariants."""
