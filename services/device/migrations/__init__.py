"""Hold the schema of the device service, one change a revision."""
