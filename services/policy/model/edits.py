"""What a call does to an object, and what is said of it: the object as it is written, with what lint finds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeAlias

from elevation.lint.findings import Finding
from services.policy.model.objects import AnyContent, Content, Stored

MOST_FINDINGS = 200
"""Findings that the answer of a call about one object carries."""


@dataclass(frozen=True, slots=True)
class Edit(Generic[Content]):
    """Turn one object into another, before it is written; no `before` creates it, no `after` deletes it."""

    before: Stored[Content] | None
    after: Stored[Content] | None


AnyEdit: TypeAlias = Edit[AnyContent]


@dataclass(frozen=True, slots=True)
class Written(Generic[Content]):
    """Hold an object as it was written, or would be, and what lint finds about it, worst first."""

    stored: Stored[Content]
    findings: tuple[Finding, ...] = ()


def told(findings: Sequence[Finding], *, most: int = MOST_FINDINGS) -> tuple[Finding, ...]:
    """Return the findings that an answer carries: what its author accepts is left out."""
    return tuple(finding for finding in findings if not finding.ignored_because)[:most]
