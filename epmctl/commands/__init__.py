"""The commands of `epm`, a module each; those that are a room by themselves (demo, linting, schema) stand there."""
