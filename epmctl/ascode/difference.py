"""Tell documents apart by meaning: rules are known by their names, labels by their keys, entries of lists by their value.

A document is taken apart into facts, each with a place; two documents differ where the facts do, and three documents (what
was applied last, what files say, what the server holds) tell who made the difference.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias, cast

from epmctl.output import Plain, Record

ORDER: Final = "the order of entries"
"""What differs where the facts do not."""


class Cause(Enum):
    """Who made a difference between files and server."""

    FILES = "FILES"
    """The files say something new, or there is nothing to tell it from."""
    DRIFT = "DRIFT"
    """Somebody changed the server by other means, and the files take it back."""
    CONFLICT = "CONFLICT"
    """Both changed it, to different things."""


class FieldAction(Enum):
    """What becomes of a field."""

    ADDED = "ADDED"
    CHANGED = "CHANGED"
    REMOVED = "REMOVED"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a fact stands: in which rule (empty: in none), in which field, and which entry of a list it is (as JSON)."""

    rule: str
    field: str
    entry: str = ""


Facts: TypeAlias = Mapping[Place, Plain]


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field that would change; `field` is empty where it is a whole rule. None: there is no value."""

    rule: str
    field: str
    action: FieldAction
    before: Plain
    after: Plain
    cause: Cause = Cause.FILES


def differences(live: Record | None, files: Record | None, base: Record | None = None) -> list[FieldChange]:
    """Tell what the files would change, by fields of the object first and then by rules; with `base`, also who was it."""
    before, after = _facts(live), _facts(files)
    last = None if base is None else _facts(base)
    wanted = {**dict.fromkeys(before), **dict.fromkeys(after)}
    own = [change for place in wanted if not place.rule for change in _of_fact(place, before, after, last)]
    rules = dict.fromkeys(place.rule for place in wanted if place.rule)
    changes = [*own, *(change for rule in sorted(rules) for change in _of_rule(rule, before, after, last))]
    if not changes and live is not None and files is not None and live != files:
        return [FieldChange("", ORDER, FieldAction.CHANGED, None, None)]
    return changes


def form_of(change: FieldChange) -> dict[str, Plain]:
    """Give a change as JSON, whoever made it."""
    return {
        "rule": change.rule,
        "field": change.field,
        "action": change.action.value,
        "before": change.before,
        "after": change.after,
    }


def compact(value: Plain) -> str:
    """Write a value in one line."""
    return json.dumps(value, ensure_ascii=False)


def _facts(document: Record | None) -> Facts:
    if document is None:
        return {}
    facts: dict[Place, Plain] = {}
    metadata, spec = cast("Record", document["metadata"]), cast("Record", document["spec"])
    for key, value in metadata.items():
        if key != "name":
            facts.update(_of_value("", f"metadata.{key}", value))
    for key, value in spec.items():
        if key == "rules":
            for rule in cast("Sequence[Record]", value):
                facts.update(_of_rule_facts(rule))
        else:
            facts.update(_of_value("", key, value))
    return facts


def _of_rule_facts(rule: Record) -> Iterator[tuple[Place, Plain]]:
    name = cast("str", rule["name"])
    for key, value in rule.items():
        if key != "name":
            yield from _of_value(name, key, value)


def _of_value(rule: str, field: str, value: Plain) -> Iterator[tuple[Place, Plain]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            inner_field = f"{field}[{compact(key)}]" if field == "metadata.labels" else f"{field}.{key}"
            yield from _of_value(rule, inner_field, inner)
    elif isinstance(value, Sequence) and not isinstance(value, str) and value:
        for entry in value:
            yield Place(rule, field, json.dumps(entry, sort_keys=True)), entry
    else:
        yield Place(rule, field), value


def _of_rule(rule: str, before: Facts, after: Facts, base: Facts | None) -> Iterator[FieldChange]:
    """Give the changes of a rule; one that is new or gone is one change."""
    places = [place for place in {**dict.fromkeys(before), **dict.fromkeys(after)} if place.rule == rule]
    changes = [change for place in places for change in _of_fact(place, before, after, base)]
    was, will = (any(place in facts for place in places) for facts in (before, after))
    if was and will:
        yield from changes
        return
    causes = {change.cause for change in changes}
    cause = causes.pop() if len(causes) == 1 else Cause.CONFLICT  # both had a hand in the rule
    content = _content(places, after if will else before)
    action = FieldAction.ADDED if will else FieldAction.REMOVED
    yield FieldChange(rule, "", action, None if will else content, content if will else None, cause)


def _content(places: Sequence[Place], facts: Facts) -> dict[str, Plain]:
    """Put the facts of a rule together again, by field."""
    content: dict[str, Plain] = {}
    for place in places:
        if place not in facts:
            continue
        if place.entry:
            content[place.field] = [*cast("Sequence[Plain]", content.get(place.field, [])), facts[place]]
        else:
            content[place.field] = facts[place]
    return content


def _of_fact(place: Place, before: Facts, after: Facts, base: Facts | None) -> Iterator[FieldChange]:
    was, will = before.get(place), after.get(place)
    there, wanted = place in before, place in after
    if there == wanted and was == will:
        return
    action = FieldAction.CHANGED if there and wanted else FieldAction.ADDED if wanted else FieldAction.REMOVED
    cause = Cause.FILES if base is None else _cause(place, before, after, base)
    yield FieldChange(place.rule, place.field, action, was, will, cause)


def _cause(place: Place, live: Facts, files: Facts, base: Facts) -> Cause:
    by_files, by_others = (_differ(place, facts, base) for facts in (files, live))
    if by_files and by_others:
        return Cause.CONFLICT
    return Cause.DRIFT if by_others else Cause.FILES


def _differ(place: Place, one: Facts, other: Facts) -> bool:
    return (place in one) != (place in other) or one.get(place) != other.get(place)
