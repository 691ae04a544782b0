"""The verbs of policy, one function each."""
