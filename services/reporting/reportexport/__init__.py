"""Write whole reports as files: what their columns are, how the three forms are written, and the walk over the entries."""
