"""Translate between the contracts and the model."""
