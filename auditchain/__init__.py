"""The audit chain: what its records are, how they hang together, and how to find out whether somebody touched them.

Pure: the services write by it, and whoever verifies a log does so without them.
"""
