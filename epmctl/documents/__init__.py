"""The document form: what `epm simulate` and `epm apply` read, and nothing half understood."""
