"""`epm report tail`: attempts as they are stored, one line each, over lost connections and restarts of the server.

The server tells a cursor with every message; it is where a lost connection is taken up again, so that nothing is missed and
nothing is printed twice. With `--cursor-file` it outlives the command: it is noted after its attempts were printed, so that
a command that is killed in between prints those again rather than never. With `--consumer` the server keeps it.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Final

import click

from epm.reporting.v1 import export_pb2, export_pb2_grpc, reports_pb2, reports_pb2_grpc
from epmctl.client import Client, logged_in
from epmctl.elevations import ELEVATION_COLUMNS, ELEVATION_FIT
from epmctl.fitted import lines_fitted
from epmctl.following import LONGEST_WATCH, cursor_file_option, followed, noted, print_each, print_line
from epmctl.output import output_option
from epmctl.plain import to_plain
from epmctl.reportfilter import lasting_filter_options

Message = reports_pb2.WatchElevationsResponse | export_pb2.ExportEventsResponse

_USUAL: Final = {
    "OCCURRED": 20,
    "DEVICE": 16,
    "USER": 16,
    "RESULT": 17,
    "ELEVATION TYPE": 16,
    "DECIDED BY": 24,
    "FILE": 40,
    "ATTEMPT": 36,
}


@click.command()
@lasting_filter_options
@click.option("--from-now", is_flag=True, help="Only what is stored from now on, whatever --since says of the time.")
@click.option("--limit", type=click.IntRange(1), help="End after so many attempts; else never.")
@cursor_file_option
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
    if limit is not None and consumer is not None:
        raise click.UsageError("--limit goes with no --consumer: a message may hold more than is to be printed")
    if consumer is not None and (from_now or cursor_file is not None):
        raise click.UsageError("--consumer goes on where it was: leave --from-now and --cursor-file out")
    if consumer is not None:
        follow = partial(_handed_over, export_pb2.ExportHello(consumer=consumer, filter=asked))
    else:
        request = reports_pb2.WatchElevationsRequest(filter=asked, cursor=noted(cursor_file))
        if from_now and not request.cursor:
            request.cursor = _cursor_of_now()
        follow = partial(_watched, request)
    columns = [] if output == "json" else lines_fitted(ELEVATION_COLUMNS, _USUAL, ELEVATION_FIT)
    print_each(
        followed(follow),
        lambda message: message.elevations,
        lambda elevation: print_line(to_plain(elevation), columns, output),
        limit=limit,
        cursor_file=cursor_file,
    )


def _cursor_of_now() -> str:
    """Ask where what is stored from now on begins."""
    with logged_in() as client:
        stub = reports_pb2_grpc.ReportingServiceStub(client.channel)
        request = reports_pb2.WatchElevationsRequest()
        return next(iter(client.stream(stub.WatchElevations, request, deadline=LONGEST_WATCH))).cursor


def _watched(request: reports_pb2.WatchElevationsRequest, client: Client) -> Iterator[Message]:
    """Watch; the request then asks for what comes behind what was printed."""
    stub = reports_pb2_grpc.ReportingServiceStub(client.channel)
    for message in client.stream(stub.WatchElevations, request, deadline=LONGEST_WATCH):
        yield message
        request.cursor = message.cursor


def _handed_over(hello: export_pb2.ExportHello, client: Client) -> Iterator[Message]:
    """Have attempts handed over, and acknowledge what was printed."""
    said: SimpleQueue[export_pb2.ExportEventsRequest | None] = SimpleQueue()
    said.put(export_pb2.ExportEventsRequest(hello=hello))
    stub = export_pb2_grpc.ExportServiceStub(client.channel)
    try:
        for message in client.converse(stub.ExportEvents, iter(said.get, None), deadline=LONGEST_WATCH):
            yield message
            said.put(export_pb2.ExportEventsRequest(ack=export_pb2.ExportAck(cursor=message.cursor)))
    finally:
        said.put(None)
