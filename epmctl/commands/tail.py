"""`epm report tail`: attempts as they are stored, one line each, over lost connections and restarts of the server.

The server tells a cursor with every message; it is where a lost connection is taken up again, so that nothing is missed and
nothing is printed twice. With `--cursor-file` it outlives the command: it is noted after its attempts were printed, so that
a command that is killed in between prints those again rather than never. With `--consumer` the server keeps it.
"""

import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Final

import click
import grpc

from epm.reporting.v1 import export_pb2, export_pb2_grpc, reports_pb2, reports_pb2_grpc
from epmctl.client import CallError, Client, logged_in
from epmctl.documents.files import write_whole
from epmctl.elevations import ELEVATION_COLUMNS
from epmctl.errors import CommandError
from epmctl.output import output_option, show, to_json
from epmctl.plain import to_plain
from epmctl.reportfilter import filter_options

Message = reports_pb2.WatchElevationsResponse | export_pb2.ExportEventsResponse

FIRST_PAUSE: Final = 0.2
"""Seconds before a watch that broke off is taken up again; twice as long whenever that fails."""

LONGEST_PAUSE: Final = 30.0
_MOST_DOUBLINGS: Final = 8
"""How often a pause is doubled at most: it is the longest by then, and a server may be away for days."""

LONGEST_CURSOR: Final = 1024

_ENDS: Final = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED})
"""What a watch may break off with, to be taken up again: the server went away, or asks to come back."""

_LONGEST_WATCH: Final = 1000.0
"""Seconds after which a connection is given up though nothing was heard: the server ends every watch before."""

_WIDTHS: Final = {"OCCURRED": 20, "DEVICE": 16, "USER": 16, "RESULT": 12, "ELEVATION TYPE": 16, "DECIDED BY": 24}


@click.command()
@filter_options
@click.option("--from-now", is_flag=True, help="Only what is stored from now on, whatever --since says of the time.")
@click.option("--limit", type=click.IntRange(1), help="End after so many attempts; else never.")
@click.option(
    "--cursor-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Go on where the command that wrote this file ended, and note there how far this one is.",
)
@click.option(
    "--consumer",
    metavar="NAME",
    help="Let the server keep how far this consumer is: every attempt comes at least once, whatever breaks off.",
)
@output_option
def tail(
    *,
    asked: reports_pb2.ElevationFilter,
    from_now: bool,
    limit: int | None,
    cursor_file: Path | None,
    consumer: str | None,
    output: str,
) -> None:
    """Print attempts as they are stored, a line each (with --output json an object each), until interrupted.

    With --since it begins with what occurred then, else with what is stored from now on.
    """
    if limit is not None and (cursor_file is not None or consumer is not None):
        raise click.UsageError(
            "--limit goes with no cursor that is kept: a message may hold more than is to be printed"
        )
    if consumer is not None and (from_now or cursor_file is not None):
        raise click.UsageError("--consumer goes on where it was: leave --from-now and --cursor-file out")
    if consumer is not None:
        follow = partial(_handed_over, export_pb2.ExportHello(consumer=consumer, filter=asked))
    else:
        request = reports_pb2.WatchElevationsRequest(filter=asked, cursor=_noted(cursor_file))
        if from_now and not request.cursor:
            request.cursor = _cursor_of_now()
        follow = partial(_watched, request)
    left = limit
    for message in _followed(follow):
        found = message.elevations if left is None else message.elevations[:left]
        for elevation in found:
            _print(elevation, output)
        if cursor_file is not None:
            _note(cursor_file, message.cursor)
        left = None if left is None else left - len(found)
        if left == 0:
            return


def _cursor_of_now() -> str:
    """Ask where what is stored from now on begins."""
    with logged_in() as client:
        stub = reports_pb2_grpc.ReportingServiceStub(client.channel)
        request = reports_pb2.WatchElevationsRequest()
        return next(iter(client.stream(stub.WatchElevations, request, deadline=_LONGEST_WATCH))).cursor


def _watched(request: reports_pb2.WatchElevationsRequest, client: Client) -> Iterator[Message]:
    """Watch; the request then asks for what comes behind what was printed."""
    stub = reports_pb2_grpc.ReportingServiceStub(client.channel)
    for message in client.stream(stub.WatchElevations, request, deadline=_LONGEST_WATCH):
        yield message
        request.cursor = message.cursor


def _handed_over(hello: export_pb2.ExportHello, client: Client) -> Iterator[Message]:
    """Have attempts handed over, and acknowledge what was printed."""
    said: SimpleQueue[export_pb2.ExportEventsRequest | None] = SimpleQueue()
    said.put(export_pb2.ExportEventsRequest(hello=hello))
    stub = export_pb2_grpc.ExportServiceStub(client.channel)
    try:
        for message in client.converse(stub.ExportEvents, iter(said.get, None), deadline=_LONGEST_WATCH):
            yield message
            said.put(export_pb2.ExportEventsRequest(ack=export_pb2.ExportAck(cursor=message.cursor)))
    finally:
        said.put(None)


def _followed(follow: Callable[[Client], Iterator[Message]]) -> Iterator[Message]:
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


def pause_after(failures: int) -> float:
    """Say how many seconds to wait after so many failures in a row, however many."""
    return min(FIRST_PAUSE * 2.0 ** min(failures, _MOST_DOUBLINGS), LONGEST_PAUSE)


def _print(elevation: reports_pb2.Elevation, output: str) -> None:
    record = to_plain(elevation)
    if output == "json":
        click.echo(to_json(record))
        return
    cells = (f"{show(column(record)):<{_WIDTHS.get(name, 0)}}" for name, column in ELEVATION_COLUMNS.items())
    click.echo("  ".join(cells))


def _noted(path: Path | None) -> str:
    """Return the cursor that a command noted; empty where none did."""
    try:
        return "" if path is None else path.read_text(encoding="utf-8")[:LONGEST_CURSOR].strip()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{path} cannot be read: {error}; name another --cursor-file") from None


def _note(path: Path, cursor: str) -> None:
    """Note a cursor, the old one or the new one whole."""
    try:
        write_whole(path, f"{cursor}\n")
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error}; name another --cursor-file") from None
