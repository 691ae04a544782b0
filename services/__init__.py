"""The four services, and the process that runs them all."""
