"""Carry every service: server, errors, access, storage; knows no domain noun."""
