"""What rules are used for, and which files the support approves again and again, over whole days in UTC."""

from dataclasses import dataclass

MOST_RULES = 20_000
"""Rules that are told; those that decided most."""
MOST_FILES = 1000
"""Files that are told; those with most approvals."""


@dataclass(frozen=True, slots=True)
class RuleUsage:
    """How often a rule decided, by the names of its policy and its own then, and on which day last, since 1970."""

    policy: str
    rule: str
    attempts: int
    last_day: int


@dataclass(frozen=True, slots=True)
class ApprovedFile:
    """A file that was elevated under approvals, and by how many users."""

    sha256: str
    file_name: str
    attempts: int
    users: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What rules were used for, and files approved."""

    counted_from: int | None
    """First day from which on everything that came in is counted, by rule too; None: nothing ever came in."""
    rules: tuple[RuleUsage, ...] = ()
    more_rules: bool = False
    """Whether there are more rules than these."""
    approved_files: tuple[ApprovedFile, ...] = ()
