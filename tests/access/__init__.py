"""Prove who may do what: over gRPC, through histories and races, against an evaluator of its own."""
