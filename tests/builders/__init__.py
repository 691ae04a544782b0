"""Build objects for tests: say what matters, default the rest."""
