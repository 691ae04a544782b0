"""Stand in for the ports: fakes that pass the same contract as the real thing."""
