"""What the benchmark of ingest is made of: loads, agents, the service, and the limit that it is measured against."""
