"""What the verbs that write need beside the transaction: the groups, lint, and the limits of the installation."""

from collections.abc import Sequence
from dataclasses import dataclass

from elevation.checks import MAX_RULES
from elevation.lint.findings import Finding
from services._chassis.permits import Permit
from services.policy.model.edits import AnyEdit
from services.policy.model.objects import AnyContent
from services.policy.ports import Directories, Linting


class NoLinting:
    """Find nothing."""

    def errors(self, _content: AnyContent) -> Sequence[Finding]:
        """Let everything through."""
        return ()

    async def findings(self, _edits: Sequence[AnyEdit], _permit: Permit) -> Sequence[Finding]:
        """Find nothing."""
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """Hold them together."""

    directories: Directories
    linting: Linting
    most_rules: int = MAX_RULES
    """Most rules of one policy."""
