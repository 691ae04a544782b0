"""What two states of an object differ in, rule by rule and field by field.

- Fields are those of the document form. A text that is empty there is not filled, so it is no field.
- A rule is known by its name: under another name it is another rule. The order of rules means nothing.
- An entry of a list is known by its value: it is there or it is not, wherever it stands.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import TypeAlias

from services.policy.model.documents import document_of
from services.policy.model.objects import Content, Stored

Fields: TypeAlias = Mapping[str, object]
_ABSENT = object()


class FieldChangeKind(Enum):
    """What became of a field."""

    ADDED = "added"
    CHANGED = "changed"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldChange:
    """Say what became of a field, of the object or of one of its rules; values are JSON, empty for none.

    Without a field it is about the whole rule. Of a list it is about one entry, unless the list itself came or went.
    """

    kind: FieldChangeKind
    rule: str = ""
    field: str = ""
    before: str = ""
    after: str = ""


@dataclass(frozen=True, slots=True)
class _Parts:
    """Hold an object's own fields, and its rules by name."""

    own: Fields
    rules: Fields


def differences(before: Stored[Content] | None, after: Stored[Content]) -> tuple[FieldChange, ...]:
    """Return what turns one state into the other: the object's own fields first, then the rules by name."""
    old, new = _Parts({}, {}) if before is None else _parts(before), _parts(after)
    changes = list(_of_fields("", old.own, new.own))
    for name in sorted(old.rules.keys() | new.rules.keys()):
        found = _of_value("", old.rules.get(name, _ABSENT), new.rules.get(name, _ABSENT))
        changes.extend(replace(change, rule=name) for change in found)
    return tuple(changes)


def _parts(stored: Stored[Content]) -> _Parts:
    document = document_of(stored)
    metadata = {name: value for name, value in _mapping(document["metadata"]).items() if name not in ("name", "labels")}
    spec = {name: value for name, value in _mapping(document["spec"]).items() if name != "rules"}
    own = {f"metadata.{name}": value for name, value in _filled(metadata).items()}
    own |= {f'metadata.labels["{label}"]': value for label, value in sorted(stored.about.labels.items())}
    rules = [_mapping(rule) for rule in _sequence(_mapping(document["spec"]).get("rules", ()))]
    return _Parts({**own, **_filled(spec)}, {str(rule["name"]): _filled(rule) for rule in rules})


def _filled(fields: Fields) -> dict[str, object]:
    """Leave out what says nothing: texts that are not filled, blocks of them, and the mode of a filter that is not there."""
    kept = {name: _plain(value) for name, value in fields.items()}
    if not kept.get("filter"):
        kept.pop("filterMode", None)
    return {name: value for name, value in kept.items() if value not in ("", {})}


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return _filled(value)
    return [_plain(entry) for entry in value] if isinstance(value, list) else value


def _of_fields(place: str, before: Fields, after: Fields) -> Iterator[FieldChange]:
    for name in dict.fromkeys((*before, *after)):
        yield from _of_value(f"{place}{name}", before.get(name, _ABSENT), after.get(name, _ABSENT))


def _of_value(place: str, before: object, after: object) -> Iterator[FieldChange]:
    if before == after:
        return
    if before is _ABSENT:
        yield FieldChange(kind=FieldChangeKind.ADDED, field=place, after=_json(after))
    elif after is _ABSENT:
        yield FieldChange(kind=FieldChangeKind.REMOVED, field=place, before=_json(before))
    elif isinstance(before, dict) and isinstance(after, dict):
        yield from _of_fields(f"{place}." if place else "", before, after)
    elif isinstance(before, list) and isinstance(after, list):
        yield from _of_entries(place, before, after)
    else:
        yield FieldChange(kind=FieldChangeKind.CHANGED, field=place, before=_json(before), after=_json(after))


def _of_entries(place: str, before: Sequence[object], after: Sequence[object]) -> Iterator[FieldChange]:
    old, new = Counter(map(_json, before)), Counter(map(_json, after))
    for entry in (old - new).elements():
        yield FieldChange(kind=FieldChangeKind.REMOVED, field=place, before=entry)
    for entry in (new - old).elements():
        yield FieldChange(kind=FieldChangeKind.ADDED, field=place, after=entry)


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _mapping(value: object) -> Fields:
    if not isinstance(value, dict):
        raise TypeError(f"{type(value).__name__} is no block of fields")
    return value


def _sequence(value: object) -> Sequence[object]:
    return value if isinstance(value, list | tuple) else ()
