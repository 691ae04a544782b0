"""Policy to the contracts and back: one side for administrators, one for devices."""
