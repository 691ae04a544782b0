"""Translate between the nouns of the device service and the messages of epm.device.v1."""
