"""The verbs of those who ask what is, or would be: nothing is written."""
