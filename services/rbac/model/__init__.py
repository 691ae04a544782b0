"""The nouns of access: roles, principal groups, role assignments, scope tags, tokens."""
