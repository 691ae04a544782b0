"""Policy as code: what files say and what a server holds, compared, planned, exported and brought together."""
