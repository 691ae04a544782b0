"""The schema of the policy service, one change a revision."""
