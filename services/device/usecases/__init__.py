"""The verbs of the device service."""
