"""Policy streams of devices: one stream, and how all of a process are held."""
