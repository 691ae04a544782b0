"""The nouns of a report of findings, and the numbers that it comes to."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

SEVERITIES: Final = ("ERROR", "HIGH", "WARNING", "INFO")
"""The worst first."""


@dataclass(frozen=True, slots=True)
class Related:
    """Another object that has part in a finding, by kind, name and rule; blank names are those of what nobody may see."""

    kind: str
    name: str
    rule: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One finding, with its place in the files where there is one."""

    check: str
    severity: str
    kind: str
    name: str
    rule: str
    path: str
    message: str
    why: str
    remedy: str
    related: tuple[Related, ...] = ()
    ignored_because: str = ""
    file: str = ""
    line: int = 0


def count(findings: Sequence[Found]) -> Counter[str]:
    """Count by severity what nobody accepts."""
    return Counter(found.severity for found in findings if not found.ignored_because)


def fails(findings: Sequence[Found], *, strict: bool) -> bool:
    """Tell whether a check of these documents fails: by errors, if it is strict by anything that is no mere information."""
    counted = count(findings)
    failing = SEVERITIES[:-1] if strict else SEVERITIES[:1]
    return any(counted[severity] for severity in failing)


def summary(findings: Sequence[Found]) -> str:
    """Say in one line what was found."""
    counted = count(findings)
    ignored = sum(1 for found in findings if found.ignored_because)
    told = [_counted(counted[severity], severity) for severity in SEVERITIES if counted[severity]]
    return (", ".join(told) or "nothing found") + (f"; {ignored} accepted by their authors" if ignored else "")


def _counted(number: int, severity: str) -> str:
    plural = "" if number == 1 or severity == "HIGH" else "s"
    return f"{number} {severity.lower()}{plural}"
