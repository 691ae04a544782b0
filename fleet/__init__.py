"""Many virtual agents in few processes, with scripted faults: the simulator `epm-sim`."""
