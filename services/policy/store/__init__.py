"""SQL behind the ports."""
