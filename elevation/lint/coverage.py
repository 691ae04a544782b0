"""Find rules for those who have elevation switched off (L26), some or all of them, and settings policies that disagree (L27)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations, islice

from elevation.lint.catalogue import found
from elevation.lint.findings import Finding, Severity
from elevation.lint.meeting import Audience, Way, implies_one
from elevation.lint.narrowing import impossible
from elevation.lint.patience import go_on
from elevation.lint.shadows import MOST_RELATED
from elevation.lint.subjects import rules_subject, settings_subject
from elevation.model import ALL_DEVICES, ALL_USERS, Conflict, RulesPolicy, Settings, SettingsPolicy
from elevation.settings import duration, merge

_MOST_PAIRS = 200
"""Conditions that are compared in pairs; beyond, they are taken not to complete each other."""

Audiences = Sequence[tuple[SettingsPolicy, Audience]]
"""Settings policies in the order of their names, with whom each reaches."""


def find_uncovered(policy: RulesPolicy, audience: Audience, settings: Audiences) -> Iterator[Finding]:
    """Find the includes of a rules policy by which nobody gets a settings policy that enables elevation (L26)."""
    enabling = [way for found_policy, across in settings if found_policy.enabled for way in across.ways]
    bare = [way for way in audience.ways if not any(_goes_with(way, other) for other in enabling)]
    if not bare:
        yield from _covered_in_part(policy, audience, enabling)
        return
    off = [
        settings_subject(other)
        for other, across in settings
        if not other.enabled and any(_goes_with(way, theirs) for way in bare for theirs in across.ways)
    ]
    groups = ", ".join(f'"{way.group}"' for way in bare[:MOST_RELATED])
    more = f" and {len(bare) - MOST_RELATED} more" if len(bare) > MOST_RELATED else ""
    switched_off = "; the settings policies that do say enabled: false" if off else ""
    yield found(
        "L26",
        Severity.WARNING,
        rules_subject(policy),
        path=f"assignments.include[{bare[0].place}]",
        message=f"no settings policy that enables elevation reaches those in {groups}{more}{switched_off}",
        related=tuple(off[:MOST_RELATED]),
    )


def _covered_in_part(policy: RulesPolicy, audience: Audience, enabling: Sequence[Way]) -> Iterator[Finding]:
    """Find the first include of a policy that surely or most likely reaches some without elevation, once for a policy."""
    for way in audience.ways:
        if who := _left_out(way, [other for other in enabling if _goes_with(way, other)]):
            yield found(
                "L26",
                Severity.INFO,
                rules_subject(policy),
                path=f"assignments.include[{way.place}]",
                message=f'settings policies that enable elevation reach "{way.group}", perhaps not all of it: {who}',
            )
            return


def _left_out(way: Way, enabling: Sequence[Way]) -> str:
    """Say whom the settings that go with a way leave out; blank if nobody, or if it cannot be told."""
    if implies_one(way, enabling) or any(other.kind is not way.kind for other in enabling):
        return ""
    if way.members is not None:
        listed = [other.members for other in enabling if other.members is not None]
        left = way.members.difference(*listed) if len(listed) == len(enabling) else frozenset[str]()
        return f"{len(left)} of its {len(way.members)} members are in none of their groups" if left else ""
    if way.group not in (ALL_DEVICES, ALL_USERS) or _complete_each_other(enabling):
        return ""
    return "they are assigned to some groups, or by a filter or an exclude"


def _complete_each_other(ways: Sequence[Way]) -> bool:
    """Tell whether one of the ways is for those whom another one leaves out."""
    groups = {way.group for way in ways}
    if any(not groups.isdisjoint(way.without) for way in ways):
        return True
    fails = {replace(condition, holds=not condition.holds) for way in ways for condition in way.conditions}
    return any(impossible({one, other}) for one, other in islice(combinations(fails, 2), _MOST_PAIRS))


def find_disagreements(settings: Audiences) -> Iterator[Finding]:
    """Find the values in which settings policies differ that can meet (L27); each pair is said once."""
    for place, (policy, audience) in enumerate(settings):
        go_on()
        against: dict[str, list[tuple[SettingsPolicy, str, str]]] = {}
        for other, across in settings[place + 1 :]:
            for conflict in _conflicts(policy, other):
                if not audience.meeting(across).modes:
                    break
                ours, theirs = conflict.values
                against.setdefault(conflict.setting, []).append((other, ours, theirs))
        for setting, others in against.items():
            yield _disagreement(policy, setting, others)


def _goes_with(way: Way, other: Way) -> bool:
    return way.meets(other) and not way.is_apart_today(other)


def _conflicts(one: SettingsPolicy, other: SettingsPolicy) -> tuple[Conflict, ...]:
    merged = merge((one, other))
    return () if merged is None else merged.conflicts


def _disagreement(policy: SettingsPolicy, setting: str, others: Sequence[tuple[SettingsPolicy, str, str]]) -> Finding:
    merged = merge((policy, *(other for other, _, _ in others)))
    counts = "" if merged is None else _COUNTS[setting].format(_spell(merged, setting))
    ours = others[0][1]
    theirs = " or ".join(dict.fromkeys(value for _, _, value in others[:MOST_RELATED]))
    many = f"{len(others)} policies that" if len(others) > 1 else "a policy that"
    return found(
        "L27",
        Severity.WARNING,
        settings_subject(policy),
        path=setting,
        message=f"{setting} is {ours} here and {theirs} in {many} can reach the same users on the same devices; "
        f"there {counts}",
        related=tuple(settings_subject(other) for other, _, _ in others[:MOST_RELATED]),
    )


_COUNTS: Mapping[str, str] = {
    "enabled": "{} counts, which switches elevation on",
    "defaultResponse": "{} counts, which is safe",
    "validations": "all of them count: {}",
    "sendReportingData": "{} counts, so data is sent",
    "reportingScope": "{} counts, the widest",
    "staleAfter": "{} counts, the shortest",
}


def _spell(merged: Settings, setting: str) -> str:
    """Spell the value that counts as a document would."""
    if setting == "staleAfter":
        return duration(merged.stale_after)
    if setting == "validations":
        return ", ".join(sorted(value.value for value in merged.validations))
    if setting == "defaultResponse":
        return merged.default_response.value
    return merged.reporting_scope.value if setting == "reportingScope" else "true"
