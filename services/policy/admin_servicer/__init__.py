"""Answer administrators who author policies."""
