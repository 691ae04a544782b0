"""The attempts behind a row of a report that counts."""

from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from typing import TypeVar, cast

import click
from google.protobuf.message import Message

from epm.reporting.v1 import reports_pb2
from epmctl.client import Client
from epmctl.errors import CommandError
from epmctl.output import show
from epmctl.plain import to_plain
from epmctl.reportlists import ListReport, attempts_behind, messages

F = TypeVar("F", bound=Callable[..., object])


def open_option(command: F) -> F:
    """Give a command the option `--open ROW`."""
    told = "List the attempts behind the row of this number (in column #) instead."
    return click.option("--open", "row", type=click.IntRange(1), metavar="ROW", help=told)(command)


def opened(client: Client, shown: ListReport, asked: reports_pb2.ElevationFilter, row: int) -> ListReport:
    """Give the list of the attempts behind a row of a report; which row that is is said on standard error.

    Raises CommandError where there are less rows.
    """
    found = next(islice(messages(client, shown, asked, row), row - 1, None), None)
    if found is None:
        raise CommandError(f"the report has no row {row} now; list it again with the same options to see its rows")
    record = to_plain(found)
    told = ", ".join(f"{heading} {show(column(record))}" for heading, column in shown.columns.items())
    click.echo(f"row {row}: {told}", err=True)
    return replace(attempts_behind(_drill_down(found)), narrow=shown.narrow)


def _drill_down(row: Message) -> reports_pb2.ElevationFilter:
    """Give what finds the attempts that a row counted: it says so itself, or its application does."""
    found = row
    for name in ("application", "drill_down"):
        found = getattr(found, name, found)
    return cast("reports_pb2.ElevationFilter", found)
