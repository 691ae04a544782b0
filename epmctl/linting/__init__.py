"""`epm lint`: what is accepted in documents, or on a server, and probably not meant."""
