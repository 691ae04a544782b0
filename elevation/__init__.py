"""Decide on elevation: the pure kernel that the services and the agent share."""
