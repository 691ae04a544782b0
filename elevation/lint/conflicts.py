"""Find the rules that answer differently for one file and are equally strong (L20), or weaker and yet first (L21).

Both look at rules that allow: a Deny rule that comes first is what it is for. Pairs are looked at where their policies
can meet, targeted as they can be there.
"""

from collections.abc import Iterator
from itertools import islice

from elevation.lint.candidates import Candidates, Sort, sort_of
from elevation.lint.catalogue import found
from elevation.lint.findings import Finding, Severity
from elevation.lint.meeting import Audience, Meetings
from elevation.lint.recognition import Recognition
from elevation.lint.shadows import MOST_RELATED


def find_ties(rule: Recognition, candidates: Candidates, meetings: Meetings) -> Iterator[Finding]:
    """Find the rules that beat a rule by nothing but their elevation type (L20)."""
    if rule.denies:
        return
    winners = list(islice(_winners(rule, candidates, meetings), MOST_RELATED + 1))
    if not winners:
        return
    first = winners[0]
    types = f"{first.rule.elevation_type.value} there and {rule.rule.elevation_type.value} here"
    yield found(
        "L20",
        Severity.WARNING,
        rule.subject,
        path=rule.path,
        message=f"is as specific as {_others(rule, winners)} for a file that both match, and where both apply it loses "
        f"by its elevation type alone ({types})",
        related=tuple(winner.subject for winner in winners[:MOST_RELATED]),
    )


def find_weak_winners(rule: Recognition, candidates: Candidates, meetings: Meetings) -> Iterator[Finding]:
    """Find the rules with a hash, targeted at devices, before which a rule without one goes for its users (L21)."""
    if rule.denies or rule.sha256 or not _can_reach_users(meetings.audiences[rule.policy.name]):
        return
    losers = list(islice(_losers(rule, candidates, meetings), MOST_RELATED + 1))
    if losers:
        yield found(
            "L21",
            Severity.WARNING,
            rule.subject,
            path=rule.path,
            message=f"has no hash, is targeted at users, and so goes, where both apply, before {_others(rule, losers)}, "
            f"which recognises the same file by its hash and is targeted at devices",
            related=tuple(loser.subject for loser in losers[:MOST_RELATED]),
        )


def _winners(rule: Recognition, candidates: Candidates, meetings: Meetings) -> Iterator[Recognition]:
    own = sort_of(rule)
    row = meetings.of(rule.policy.name)
    for other in candidates.sharing(rule, lambda sort: wins_by_type(sort, own)):
        if any(ours == theirs for ours, theirs in row[other.policy.name].modes) and other.shares(rule):
            yield other


def wins_by_type(sort: Sort, other: Sort) -> bool:
    """Tell whether rules of a sort go before those of another by nothing but their elevation types."""
    return not sort.denies and sort.type_order < other.type_order and sort.strength == other.strength


def _losers(rule: Recognition, candidates: Candidates, meetings: Meetings) -> Iterator[Recognition]:
    row = meetings.of(rule.policy.name)
    for other in candidates.sharing(rule, is_strong):
        if (True, False) in row[other.policy.name].modes and other.shares(rule):
            yield other


def is_strong(sort: Sort) -> bool:
    """Tell whether rules of a sort allow what they recognise by its hash."""
    no_hash, _ = sort.strength
    return not sort.denies and not no_hash


def _can_reach_users(audience: Audience) -> bool:
    return any(True in modes for modes in audience.modes.values())


def _others(rule: Recognition, others: list[Recognition]) -> str:
    """Name the first of others, if it is of the same policy, and say whether there are more."""
    first = others[0]
    here = first.policy.name == rule.policy.name
    name = f'rule "{first.rule.name}" of this policy' if here else "a rule of another policy"
    return f"{name} (and others)" if len(others) > 1 else name
