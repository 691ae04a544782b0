"""Servers of others that the benchmarks measure beside ours."""
