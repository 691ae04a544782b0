"""The conversation between the agent and the programs that users start, over a local socket."""
