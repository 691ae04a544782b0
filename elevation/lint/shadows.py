"""Find the rules that never decide (L19).

A rule is *shadowed* by another if, wherever both apply, the other one comes first in the order of rules and matches
every file that this one matches. Where the policy of the other one reaches everybody whom this policy reaches, the rule
never decides at all, which is a warning; elsewhere it may be an exception that is meant. Several rules that only together match what a rule matches are not looked for.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from elevation.compiled import lost_at
from elevation.lint.candidates import Candidates
from elevation.lint.catalogue import found
from elevation.lint.findings import Finding, Severity
from elevation.lint.meeting import Meetings, Modes
from elevation.lint.recognition import Recognition
from elevation.model import LostAt

MOST_RELATED = 5

_STEPS = {
    LostAt.DENY: "it is a Deny rule",
    LostAt.TARGET: "it is targeted at users and this one at devices",
    LostAt.HASH: "it has a file hash",
    LostAt.SPECIFICITY: "it asks for more attributes, its argument list among them",
    LostAt.TYPE: "its elevation type goes first between rules that are equally specific",
    LostAt.NAME: "its name goes first between rules that are alike",
}


@dataclass(frozen=True, slots=True)
class _Shadow:
    """A rule that takes all files of another away."""

    rule: Recognition
    everywhere: bool
    step: LostAt


def find_shadow(rule: Recognition, candidates: Candidates, meetings: Meetings) -> Iterator[Finding]:
    """Find the strongest shadow on a rule, and name the others beside it."""
    shadows = _shadows(rule, candidates, meetings)
    if not shadows:
        return
    strongest = min(shadows, key=lambda shadow: (not shadow.everywhere, shadow.step is not LostAt.DENY))
    others = [shadow for shadow in shadows if shadow is not strongest]
    yield found(
        "L19",
        Severity.WARNING if strongest.everywhere else Severity.INFO,
        rule.subject,
        path=rule.path,
        message=_message(rule, strongest),
        related=tuple(shadow.rule.subject for shadow in [strongest, *others][:MOST_RELATED]),
    )


def _shadows(rule: Recognition, candidates: Candidates, meetings: Meetings) -> list[_Shadow]:
    """Collect shadows: enough to name, and one that is everywhere if there is one."""
    row = meetings.of(rule.policy.name)
    shadows: list[_Shadow] = []
    for other in candidates.wider(rule):
        meeting = row[other.policy.name]
        if not meeting.is_covered and (len(shadows) >= MOST_RELATED or not meeting.modes):
            continue
        if other is not rule and _comes_first(other, rule, meeting.modes) and other.takes_in(rule):
            ours, theirs = min(meeting.modes)
            step = lost_at(rule.ranks[ours], other.ranks[theirs])
            shadows.append(_Shadow(other, meeting.is_covered, step))
            if meeting.is_covered and len(shadows) >= MOST_RELATED:
                break
    return shadows


def _comes_first(other: Recognition, rule: Recognition, modes: Modes) -> bool:
    """Tell whether the other rule comes before this one however both are targeted where they meet."""
    for ours, theirs in modes:  # noqa: SIM110 - a loop, because this is asked of most pairs of rules
        if not other.ranks[theirs] < rule.ranks[ours]:
            return False
    return True


def _message(rule: Recognition, shadow: _Shadow) -> str:
    other = shadow.rule
    here = other.policy.name == rule.policy.name
    kind = "Deny rule" if other.denies else "rule"
    what = f'{kind} "{other.rule.name}" of this policy' if here else f"a {kind} of another policy"
    scope = "is never reached" if shadow.everywhere else "does not decide where both policies apply"
    return f"{scope}: {what} matches every file that this one matches, and comes first because {_STEPS[shadow.step]}"
