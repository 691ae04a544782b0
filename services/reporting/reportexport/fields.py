"""What an entry of a report consists of: read from the contract once, the same for every form of a file.

A field keeps the name that it has in the JSON form; in CSV and Parquet a value is known by its path. `drill_down` is no part of
a file: it asks again for what was counted.
"""

import enum
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

LEFT_OUT = "drill_down"
_STAMP = "google.protobuf.Timestamp"
_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_UNSPECIFIED = "UNSPECIFIED"


class Kind(enum.Enum):
    """Tell what a value is."""

    TEXT = "text"
    WHOLE = "whole"
    """A whole number that may be negative."""
    COUNT = "count"
    """A whole number that is not negative."""
    TRUTH = "truth"
    TIME = "time"
    """Microseconds since 1970 in UTC."""
    WORD = "word"
    """A word of an enum; nothing where it is not set."""
    GROUP = "group"
    """Fields of its own."""


_KINDS = {
    FieldDescriptor.CPPTYPE_STRING: Kind.TEXT,
    FieldDescriptor.CPPTYPE_BOOL: Kind.TRUTH,
    FieldDescriptor.CPPTYPE_ENUM: Kind.WORD,
    FieldDescriptor.CPPTYPE_INT32: Kind.WHOLE,
    FieldDescriptor.CPPTYPE_INT64: Kind.WHOLE,
    FieldDescriptor.CPPTYPE_UINT32: Kind.COUNT,
    FieldDescriptor.CPPTYPE_UINT64: Kind.COUNT,
    FieldDescriptor.CPPTYPE_MESSAGE: Kind.GROUP,
}


class Words(dict[object, str | None]):
    """The words of an enum by their numbers; what is none of them is written as it is."""

    def __missing__(self, number: object) -> str:
        """Write a number of a newer device."""
        return str(number)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Field:
    """One field of an entry, or of a group in it."""

    name: str
    json: str
    kind: Kind
    many: bool = False
    absent: bool = False
    """Whether it may be absent."""
    words: Words
    """The words of an enum."""
    fields: tuple["Field", ...] = ()

    @property
    def is_column(self) -> bool:
        """Tell whether it is one value of an entry; a list is one."""
        return self.many or self.kind is not Kind.GROUP


def fields_of(entry: Descriptor) -> tuple[Field, ...]:
    """Read the fields of a kind of entry."""
    return tuple(_field(field) for field in entry.fields if field.name != LEFT_OUT)


def columns_of(fields: Sequence[Field], path: tuple[str, ...] = ()) -> Iterator[tuple[str, Field]]:
    """Give every value that an entry has once, under the name of its column."""
    for field in fields:
        here = (*path, field.json)
        if field.is_column:
            yield ".".join(here), field
        else:
            yield from columns_of(field.fields, here)


def _field(described: FieldDescriptor) -> Field:
    inner = described.message_type
    kind = Kind.TIME if inner is not None and inner.full_name == _STAMP else _KINDS[described.cpp_type]
    return Field(
        name=described.name,
        json=described.json_name,
        kind=kind,
        many=described.is_repeated,
        absent=described.has_presence and not described.is_repeated,
        words=Words() if described.enum_type is None else _words(described.enum_type),
        fields=fields_of(inner) if inner is not None and kind is Kind.GROUP else (),
    )


def _words(enum_type: EnumDescriptor) -> Words:
    prefix = _WORD.sub("_", enum_type.name).upper() + "_"
    named = {value.number: value.name.removeprefix(prefix) for value in enum_type.values}
    return Words({None: None} | {number: None if word == _UNSPECIFIED else word for number, word in named.items()})
