"""Receive, verify, keep and apply the policy of the device."""
