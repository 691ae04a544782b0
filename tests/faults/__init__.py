"""Break things at a whole installation: README.md says which test holds which promise."""
