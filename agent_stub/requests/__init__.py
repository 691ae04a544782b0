"""The device's side of support approvals: requests of its users, what became of them, and what grants are used for."""
