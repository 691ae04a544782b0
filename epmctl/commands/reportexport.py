"""`epm report export`: any report that is a list, whole, as a file for other programs, in constant memory.

- The file is there when it is whole: what breaks off leaves the one that was there before.
- In CSV every field of an entry has its column, named by its path; lists are JSON. A text that a spreadsheet would take for a
  formula gets an apostrophe in front of it, because devices send what stands there. JSON lines hold everything as it is.
"""

import csv
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TextIO

import click
from google.protobuf.descriptor import Descriptor

from epm.reporting.v1 import reports_pb2
from epmctl.client import Client, logged_in
from epmctl.documents.files import whole_file
from epmctl.errors import CommandError
from epmctl.output import Plain, Record, to_json
from epmctl.reportfilter import filter_options
from epmctl.reportlists import LIST_REPORTS, ListReport, entries, reports_of

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\N{FULLWIDTH EQUALS SIGN}", "\N{FULLWIDTH PLUS SIGN}")
"""What a text begins with that a spreadsheet may take for a formula."""

_WHOLE: Final = frozenset({"google.protobuf.Timestamp", "google.protobuf.Duration"})
"""Messages that are one value."""

_TELL_EVERY: Final = 1000
_BAR: Final = 30


@click.command()
@click.argument("report", type=click.Choice(tuple(LIST_REPORTS)))
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path, allow_dash=True))
@filter_options
@click.option("--format", "form", type=click.Choice(("csv", "jsonl")), required=True, help="How to write it.")
def export(report: str, asked: reports_pb2.ElevationFilter, file: Path, form: str) -> None:
    """Write all of REPORT to FILE (-: standard output), as CSV or as JSON lines."""
    shown = LIST_REPORTS[report]
    with logged_in() as client, _opened(file) as out:
        live = sys.stderr.isatty()
        total = _total(client, asked) if live and report == "elevations" else None
        found = entries(client, shown, asked, None)
        _WRITERS[form](out, shown, progressing(found, report, total) if live else found)


def _write_csv(out: TextIO, shown: ListReport, found: Iterable[Record]) -> None:
    paths = list(_paths(shown.entry))
    writer = csv.writer(out)
    writer.writerow([".".join(path) for path in paths])
    for record in found:
        writer.writerow([_cell(_value(record, path)) for path in paths])


def _write_jsonl(out: TextIO, _shown: ListReport, found: Iterable[Record]) -> None:
    out.writelines(to_json(record) + "\n" for record in found)


_WRITERS: Final[Mapping[str, Callable[[TextIO, ListReport, Iterable[Record]], None]]] = {
    "csv": _write_csv,
    "jsonl": _write_jsonl,
}


def _paths(kind: Descriptor) -> Iterator[tuple[str, ...]]:
    """Give the path of every value that an entry has once; what it has many of is one value."""
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


def progressing(found: Iterator[Record], report: str, total: int | None) -> Iterator[Record]:
    """Say on a terminal how many entries were written, of how many if that is known, in a bar that is drawn over and over."""
    number = 0
    for number, record in enumerate(found, 1):
        yield record
        if number % _TELL_EVERY == 0:
            click.echo(f"\r{_bar(number, total)}{number} {report}", nl=False, err=True)
    click.echo(f"\r{_bar(number, None if total is None else number)}{number} {report}", err=True)


def _bar(number: int, total: int | None) -> str:
    if total is None:
        return ""
    done = min(_BAR * number // max(total, 1), _BAR) if total else _BAR
    return f"[{'#' * done}{'.' * (_BAR - done)}] "


def _total(client: Client, asked: reports_pb2.ElevationFilter) -> int:
    """Ask how many attempts there are, to tell how far an export is."""
    request = reports_pb2.SummarizeElevationsRequest(filter=asked)
    return client.call(reports_of(client).SummarizeElevations, request).total


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    """Open a file that takes the place of the one there was once it is whole."""
    if str(path) == "-":
        yield sys.stdout
        return
    try:
        with whole_file(path) as file:
            yield file
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror}; name another file") from None
