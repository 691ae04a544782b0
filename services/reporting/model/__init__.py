"""Events as they come in, and reports as they are asked for."""
