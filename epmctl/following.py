"""Follow what a server tells as it happens, over lost connections and restarts of the server.

The server tells a cursor with every message; it is where a lost connection is taken up again, so that nothing is missed and
nothing is printed twice. With `--cursor-file` it outlives the command: it is noted after what it came with was printed, so
that a command that is killed in between prints that again rather than never.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, Protocol, TypeVar

import click
import grpc

from epmctl.client import CallError, Client, logged_in
from epmctl.documents.files import write_whole
from epmctl.errors import CommandError
from epmctl.kinds.model import Column
from epmctl.output import Record, show, to_json, width_of


class Told(Protocol):
    """A message that says how far it is."""

    @property
    def cursor(self) -> str:
        """Return what goes on behind this message."""
        ...


Message = TypeVar("Message")
Telling = TypeVar("Telling", bound=Told)
Entry = TypeVar("Entry")
F = TypeVar("F", bound=Callable[..., object])

FIRST_PAUSE: Final = 0.2
"""Seconds before a watch that broke off is taken up again; twice as long whenever that fails."""

LONGEST_PAUSE: Final = 5.0
"""Short enough that a server that comes and goes is not missed while it is there."""

_MOST_DOUBLINGS: Final = 5
"""How often a pause is doubled at most: it is the longest by then, and a server may be away for days."""

LONGEST_CURSOR: Final = 1024

_ENDS: Final = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED})
"""What a watch may break off with, to be taken up again: the server went away, or asks to come back."""

LONGEST_WATCH: Final = 1000.0
"""Seconds after which a connection is given up though nothing was heard: the server ends every watch before."""


def cursor_file_option(command: F) -> F:
    """Give a command the option `--cursor-file FILE`."""
    option = click.option(
        "--cursor-file",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Go on where the command that wrote this file ended, and note there how far this one is.",
    )
    return option(command)


def followed(follow: Callable[[Client], Iterator[Message]]) -> Iterator[Message]:
    """Give what the server tells; a watch that breaks off is taken up where it ended, with the token of then."""
    heard, failures = False, 0
    while True:
        try:
            with logged_in() as client:
                for message in follow(client):
                    if failures > 1:
                        click.echo("the server is back", err=True)
                    heard, failures = True, 0
                    yield message
        except CallError as error:
            if not heard or error.code not in _ENDS:
                raise
            if failures == 1:
                click.echo(f"waiting for the server: {show(str(error))}", err=True)
        threading.Event().wait(pause_after(failures))
        failures += 1


def print_each(
    messages: Iterable[Telling],
    entries: Callable[[Telling], Sequence[Entry]],
    say: Callable[[Entry], None],
    *,
    limit: int | None,
    cursor_file: Path | None,
) -> None:
    """Print what messages hold, so many entries at most, and note after each how far it is."""
    if limit is not None and cursor_file is not None:
        raise click.UsageError(
            "--limit goes with no cursor that is kept: a message may hold more than is to be printed"
        )
    left = limit
    for message in messages:
        found = entries(message) if left is None else entries(message)[:left]
        for entry in found:
            say(entry)
        if cursor_file is not None:
            note(cursor_file, message.cursor)
        left = None if left is None else left - len(found)
        if left == 0:
            return


def print_line(record: Record, columns: Iterable[tuple[Column, int]], output: str) -> None:
    """Print an entry in a line: as JSON, or its columns, each as wide as it is told at least."""
    if output == "json":
        click.echo(to_json(record))
        return
    shown = [(show(column(record)), width) for column, width in columns]
    click.echo("  ".join(text + " " * (width - width_of(text)) for text, width in shown).rstrip(" "))


def pause_after(failures: int) -> float:
    """Say how many seconds to wait after so many failures in a row, however many."""
    return min(FIRST_PAUSE * 2.0 ** min(failures, _MOST_DOUBLINGS), LONGEST_PAUSE)


def noted(path: Path | None) -> str:
    """Return the cursor that a command noted; empty where none did."""
    try:
        return "" if path is None else path.read_text(encoding="utf-8")[:LONGEST_CURSOR].strip()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{path} cannot be read: {error}; name another --cursor-file") from None


def note(path: Path, cursor: str) -> None:
    """Note a cursor, the old one or the new one whole."""
    try:
        write_whole(path, f"{cursor}\n")
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error}; name another --cursor-file") from None
