"""Decide attempts to elevate, by documents or as a server would for one of its devices."""
