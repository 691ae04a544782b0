"""What the benchmark of distribution consists of: the fleet, the bare server, and what surrounds the policy service."""
