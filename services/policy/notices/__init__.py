"""Approvers are told: the channels of the notices file, and the couriers that carry the outbox to them."""
