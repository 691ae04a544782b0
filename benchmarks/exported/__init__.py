"""What is exported in the benchmark of exports, and who exports it."""
