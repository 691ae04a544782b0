"""What there is to know of a kind of objects, and the columns that tables are made of."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from google.protobuf.message import Message

from epmctl.client import Client
from epmctl.documents.model import Kind
from epmctl.output import Plain, Record, whole_seconds

ListPage = Callable[[Client, int, str], Message]
"""Asks for a page: of at most so many objects, from this page token on."""
Column = Callable[[Record], Plain]
"""Reads what one column shows of an object."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Narrowing:
    """Say which objects of a list are wanted, and in which order; the server reads both."""

    filter: str = ""
    order_by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectKind:
    """One kind of objects, under the names that `epm get` knows it by."""

    name: str
    singular: str
    columns: Mapping[str, Column]
    page: ListPage
    find: Callable[[Client, str], Message] | None = None
    """None: there is no call for one object; it is looked for in the list."""
    key: str = "name"
    """The field of the plain form that names an object."""
    document: Kind | None = None
    """None: no document describes such an object."""
    page_size: int = 1000
    narrow: Callable[[Narrowing], ListPage] | None = None
    """None: the list knows no filters."""


def at(path: str) -> Column:
    """Make a column of the value at a dotted path."""
    steps = path.split(".")

    def column(record: Record) -> Plain:
        value: Plain = record
        for step in steps:
            value = value.get(step) if isinstance(value, Mapping) else None
        return value

    return column


def time_at(path: str) -> Column:
    """Make a column of the time at a dotted path, to the second."""
    read = at(path)
    return lambda record: whole_seconds(cast("str", read(record) or ""))


def count_at(path: str) -> Column:
    """Make a column of how many values there are at a dotted path."""
    read = at(path)
    return lambda record: len(cast("Sequence[Plain]", read(record) or ()))
