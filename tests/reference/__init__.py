"""Evaluators written from the specification alone, to compare the real ones with."""
