"""The schema of the rbac service, one change a revision."""
