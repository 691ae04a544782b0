"""`epm demo`: the whole system at work on real files, in a temporary folder, within a minute."""
