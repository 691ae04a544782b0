"""What the verbs that write need beside the transaction: the groups, the scope tags, lint, and the limits of the installation."""

from dataclasses import dataclass

from elevation.checks import MAX_RULES
from services._chassis.scope_tags import KnownTags
from services.policy.ports import Directories, Linting


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """Hold them together."""

    directories: Directories
    linting: Linting
    most_rules: int = MAX_RULES
    """Most rules of one policy."""
    known_tags: KnownTags = frozenset
