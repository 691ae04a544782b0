"""The attempts of one request for approval: the one that led to it, and those that used its approval.

Policy knows which these are, and reporting what became of them; whoever asks needs the right to view both.
"""

import functools
from collections.abc import Callable
from typing import Final

import click

from epm.reporting.v1 import reports_pb2
from epmctl.client import logged_in
from epmctl.requestcalls import find_request

Command = Callable[..., object]

OPTION: Final = "--request"


def request_option(command: Command) -> Command:
    """Give a command that is called with `asked`, a filter, the option `--request ID`, which narrows that."""

    @functools.wraps(command)
    def narrowed(*, asked: reports_pb2.ElevationFilter, request_id: str | None, **others: object) -> object:
        return command(asked=asked if request_id is None else of_request(asked, request_id), **others)

    told = "That led to this request for approval, or used what it was given."
    return click.option(OPTION, "request_id", metavar="ID", help=told)(narrowed)


def of_request(asked: reports_pb2.ElevationFilter, request_id: str) -> reports_pb2.ElevationFilter:
    """Narrow a filter to the attempts of a request; say on standard error where these are more than a filter names.

    Raises CommandError where there is no such request, and UsageError where the filter is about other devices alone.
    """
    with logged_in() as client:
        found = find_request(client, request_id)
    request = found.request
    if asked.device_ids and request.device_id not in asked.device_ids:
        told = f"the request is of the device {request.device_id}"
        raise click.UsageError(f"{OPTION} and --device-id leave nothing together: {told}; leave --device-id out")
    if len(found.uses) < request.access.uses:
        told = f"of {request.access.uses} uses only the newest {len(found.uses)} are looked for"
        click.echo(f"{told}; --source GRANT with --device-id and --sha256 finds all of this file", err=True)
    # The device with them: what an attempt is called is its own word, and another may use the same.
    own = reports_pb2.ElevationFilter(
        attempt_ids=sorted({request.attempt_id, *(use.attempt_id for use in found.uses)}),
        device_ids=[request.device_id],
    )
    narrowed = reports_pb2.ElevationFilter()
    narrowed.CopyFrom(asked)
    narrowed.ClearField("device_ids")
    narrowed.MergeFrom(own)
    return narrowed
