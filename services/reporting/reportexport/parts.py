"""Read the values of many entries column by column: one call of the interpreter a field and piece, not one a value."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import NamedTuple, TypeVar, cast

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from services.reporting.reportexport.fields import Field, Kind

Value = str | int | bool | None | Sequence["Value"] | Mapping[str, "Value"]
"""What a cell holds."""

Raw = Sequence[object]
"""A field's values as the contract has them, of one entry after the other; None where it, or what it is in, is absent."""

Indices = Sequence[int] | None
"""Of each entry which of the values is its own, where many entries are alike; None: there is one for each."""

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Part:
    """One field of many entries: the values of a column, or the parts of a group."""

    field: Field
    values: Sequence[Value]
    """Of a group whether it is there."""
    parts: tuple["Part", ...] = ()
    """INVARIANT: those of a group that has indices have none of their own: the group's count for them."""
    indices: Indices = None


class Column(NamedTuple):
    """The values of many entries, and where each of them finds its own."""

    values: Sequence[Value]
    indices: Indices


def parts_of(fields: Sequence[Field], raw: Mapping[str, Raw]) -> tuple[Part, ...]:
    """Read fields; `raw` holds their values by name."""
    return tuple(part_of(field, raw[field.name]) for field in fields)


def part_of(field: Field, raw: Raw, indices: Indices = None) -> Part:
    """Read one field; with `indices` where many entries are alike."""
    if field.is_column:
        return Part(field, _values(field, raw), indices=indices)
    messages = cast("Sequence[Message | None]", raw)
    inner = parts_of(field.fields, raw_of(field.fields, messages))
    return Part(field, [message is not None for message in messages], inner, indices)


def raw_of(fields: Sequence[Field], messages: Sequence[Message | None]) -> dict[str, Raw]:
    """Return the values of the fields of messages, by name."""
    # Not `in`: it compares messages.
    whole = all(message is not None for message in messages)
    return {field.name: _whole(field, messages) if whole else _broken(field, messages) for field in fields}


def columns(parts: Iterable[Part], indices: Indices = None) -> list[Column]:
    """Return all columns, in their order; `indices` are those of the group that the parts are in."""
    found: list[Column] = []
    for part in parts:
        here = part.indices if indices is None else indices
        if part.field.is_column:
            found.append(Column(part.values, here))
        else:
            found += columns(part.parts, here)
    return found


def spread(items: Sequence[Item], indices: Indices) -> Sequence[Item]:
    """Return for each entry what it has of the items."""
    return items if indices is None else list(map(items.__getitem__, indices))


def entries_of(parts: Sequence[Part]) -> int:
    """Return of how many entries the parts are."""
    return len(parts[0].values if parts[0].indices is None else parts[0].indices) if parts else 0


def _whole(field: Field, messages: Sequence[Message | None]) -> Raw:
    return _broken(field, messages) if field.absent else list(map(attrgetter(field.name), messages))


def _broken(field: Field, messages: Sequence[Message | None]) -> Raw:
    name = field.name
    if not field.absent:
        return [None if message is None else getattr(message, name) for message in messages]
    return [getattr(message, name) if message is not None and message.HasField(name) else None for message in messages]


def _values(field: Field, raw: Raw) -> Sequence[Value]:
    if field.many:
        read = _item_reader(field)
        # Most lists are empty, and those are not read one by one.
        return [[read(item) for item in items] if items else () for items in cast("Sequence[Raw]", raw)]
    if field.kind is Kind.WORD:
        return list(map(field.words.__getitem__, cast("Sequence[int | None]", raw)))
    if field.kind is Kind.TIME:
        # What comes from the database is told in microseconds already.
        return cast("Sequence[int]", raw) if set(map(type, raw)) <= {int} else list(map(_time, raw))
    return cast("Sequence[Value]", raw)


def _item_reader(field: Field) -> Callable[[object], Value]:
    """Return what reads one item of a list, or one field of it."""
    if field.kind is Kind.GROUP:
        readers = [(inner, _member_reader(inner)) for inner in field.fields]
        return lambda item: {inner.json: read(cast("Message", item)) for inner, read in readers}
    if field.kind is Kind.WORD:
        return lambda item: field.words[cast("int", item)]
    if field.kind is Kind.TIME:
        return _time
    return lambda item: cast("Value", item)


def _member_reader(field: Field) -> Callable[[Message], Value]:
    read, get, name = _item_reader(field), attrgetter(field.name), field.name
    if field.many:
        return lambda message: [read(item) for item in get(message)]
    if field.absent:
        return lambda message: read(get(message)) if message.HasField(name) else None
    return lambda message: read(get(message))


def _time(value: object) -> int | None:
    if isinstance(value, Timestamp):
        return value.seconds * 1_000_000 + value.nanos // 1000
    return cast("int | None", value)
