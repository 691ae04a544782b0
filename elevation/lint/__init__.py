"""Lint: what is accepted in policies and probably not meant.

`elevation.checks` refuses what cannot count at all; lint looks at what counts, over all policies that can meet on a
device. `Linter` is the door; `findings` says what a finding is, `catalogue` what there is to find.
"""
