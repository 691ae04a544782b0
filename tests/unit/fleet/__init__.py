"""The simulator: what scripts say, what goes wrong when, and what counts as broken."""
