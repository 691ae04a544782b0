"""What the benchmark of authoring works with."""
