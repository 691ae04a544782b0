"""The nouns of the policy service."""
