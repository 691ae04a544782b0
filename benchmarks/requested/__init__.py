"""What the benchmark of elevation requests is made of: those who ask, those who approve, and a bare server in between."""
