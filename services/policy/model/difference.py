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
    """Hold what stands in a document about the object, in it, and its rules by name."""

    metadata: Fields
    labels: Fields
    spec: Fields
    rules: Fields


_NOTHING = _Parts({}, {}, {}, {})


def differences(before: Stored[Content] | None, after: Stored[Content]) -> tuple[FieldChange, ...]:
    """Return what turns one state into the other: the object's own fields first, then the rules by name."""
    old, new = _NOTHING if before is None else _parts(before), _parts(after)
    changes = [*_of_fields("metadata.", old.metadata, new.metadata)]
    for label in sorted(old.labels.keys() | new.labels.keys()):
        place = f'metadata.labels["{label}"]'
        changes.extend(_of_value(place, old.labels.get(label, _ABSENT), new.labels.get(label, _ABSENT)))
    changes.extend(_of_fields("", old.spec, new.spec))
    for name in sorted(old.rules.keys() | new.rules.keys()):
        found = _of_value("", old.rules.get(name, _ABSENT), new.rules.get(name, _ABSENT))
        changes.extend(replace(change, rule=name) for change in found)
    return tuple(changes)


def _parts(stored: Stored[Content]) -> _Parts:
    document = document_of(stored)
    metadata, spec = dict(_mapping(document["metadata"])), dict(_mapping(document["spec"]))
    del metadata["name"]
    labels, rules = _mapping(metadata.pop("labels")), spec.pop("rules", [])
    return _Parts(metadata, labels, spec, {rule["name"]: rule for rule in rules} if isinstance(rules, list) else {})


def _of_fields(place: str, before: Fields, after: Fields) -> Iterator[FieldChange]:
    for name in dict.fromkeys((*before, *after)):
        yield from _of_value(f"{place}{name}", _filled(before, name), _filled(after, name))


def _of_value(place: str, before: object, after: object) -> Iterator[FieldChange]:
    if _plain(before) == _plain(after):
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


def _filled(fields: Fields, name: str) -> object:
    """Return the value of a field, if it says anything: a text that is not filled does not, nor a block of them."""
    value = fields.get(name, _ABSENT)
    return _ABSENT if _plain(value) in ("", {}) else value


def _plain(value: object) -> object:
    """Leave out of a value what says nothing, the mode of a filter that is not there too."""
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    kept = {name: plain for name, each in value.items() if (plain := _plain(each)) not in ("", {})}
    if "filter" not in kept:
        kept.pop("filterMode", None)
    return kept


def _json(value: object) -> str:
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _mapping(value: object) -> Fields:
    if not isinstance(value, dict):
        raise TypeError(f"{type(value).__name__} is no block of fields")
    return value
