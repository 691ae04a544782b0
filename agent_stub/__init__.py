"""Run on a device: enrol, hold the policy, decide on attempts, spool the events."""
