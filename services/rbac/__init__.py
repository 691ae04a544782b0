"""Say who may do what: roles, role assignments, tokens, the access snapshot."""
