"""CSV of what has no report that the server writes as a file: figures, and lists that no export knows.

Columns and cells are as in the server's files: a field is known by its path, lists are JSON, and a text that a spreadsheet may take
for a formula has an apostrophe in front of it, because devices send what stands there.
"""

import csv
import io
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import click
from google.protobuf.descriptor import Descriptor

from epmctl.output import Plain, Record, to_json
from epmctl.visible import visible_lines

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\N{FULLWIDTH EQUALS SIGN}", "\N{FULLWIDTH PLUS SIGN}")
"""What a text begins with that a spreadsheet may take for a formula."""

_WHOLE: Final = frozenset({"google.protobuf.Timestamp", "google.protobuf.Duration"})
"""Messages that are one value."""


def print_csv(headings: Sequence[str], rows: Iterable[Sequence[Plain]]) -> None:
    """Print rows under their headings."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(headings)
    writer.writerows([_cell(value) for value in row] for row in rows)
    text = out.getvalue()
    click.echo(visible_lines(text) if sys.stdout.isatty() else text, nl=False)


def print_csv_of(entry: Descriptor, records: Iterable[Record], more: Sequence[str] = ()) -> None:
    """Print entries of a kind with a column for every value that they have once, and for what was added to them (`more`)."""
    paths = [*_paths(entry), *((name,) for name in more)]
    print_csv([".".join(path) for path in paths], ([_value(one, path) for path in paths] for one in records))


def _paths(kind: Descriptor) -> Iterator[tuple[str, ...]]:
    for field in kind.fields:
        inner = field.message_type
        if inner is None or field.is_repeated or inner.full_name in _WHOLE:
            yield (field.json_name,)
        else:
            yield from ((field.json_name, *path) for path in _paths(inner))


def _value(record: Record, path: Sequence[str]) -> Plain:
    value: Plain = record
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _cell(value: Plain) -> str:
    """Write a value as a cell that no spreadsheet computes."""
    if value is None:
        return ""
    if isinstance(value, str):
        return f"'{value}" if value.lstrip(" ").startswith(_FORMULA) else value
    return to_json(value)
