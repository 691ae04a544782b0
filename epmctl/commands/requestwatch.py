"""`epm requests watch`: requests as they come and change, a line each, over lost connections and restarts of the server."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import click

from epm.policy.v1 import requests_pb2
from epmctl.client import Client
from epmctl.following import LONGEST_WATCH, cursor_file_option, followed, noted, print_each, print_line
from epmctl.output import output_option
from epmctl.plain import to_plain
from epmctl.requestcalls import requests_of
from epmctl.requestshow import LINE_COLUMNS


@click.command()
@click.option("--limit", type=click.IntRange(1), help="End after so many lines; else never.")
@cursor_file_option
@output_option
def watch(*, limit: int | None, cursor_file: Path | None, output: str) -> None:
    """Print requests as they come and change, a line each (with --output json an object each), until interrupted.

    Begins with those that are pending. A request stands there as it is when it is printed: of two changes in a moment, the
    last alone may be seen.
    """
    request = requests_pb2.WatchElevationRequestsRequest(cursor=noted(cursor_file))
    print_each(
        followed(partial(_watched, request)),
        lambda message: message.requests,
        lambda request: print_line(to_plain(request), LINE_COLUMNS.values(), output),
        limit=limit,
        cursor_file=cursor_file,
    )


def _watched(
    request: requests_pb2.WatchElevationRequestsRequest, client: Client
) -> Iterator[requests_pb2.WatchElevationRequestsResponse]:
    """Watch; the request then asks for what comes behind what was printed."""
    for message in client.stream(requests_of(client).WatchElevationRequests, request, deadline=LONGEST_WATCH):
        yield message
        request.cursor = message.cursor
