"""The agent: what it believes, keeps, decides and tells."""
