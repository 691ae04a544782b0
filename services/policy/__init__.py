"""Author policies and stream each device the one that applies to it."""
