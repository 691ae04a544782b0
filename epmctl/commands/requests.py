"""`epm requests`: who asks to elevate what, and what approvers say to it."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from ssl import DER_cert_to_PEM_cert
from typing import Final

import click

from epm.policy.v1 import requests_pb2
from epmctl.client import Client, logged_in
from epmctl.commands.requestcandidates import candidates
from epmctl.commands.requestdecisions import approve, deny, revoke
from epmctl.commands.requestnotices import notices
from epmctl.commands.requestwatch import watch
from epmctl.documents.files import write_whole
from epmctl.errors import CommandError
from epmctl.fitted import print_fitted
from epmctl.grouping import CommandGroup
from epmctl.limits import limit_option, say_if_more, to_ask, within
from epmctl.output import Record, output_option, print_json, show
from epmctl.plain import to_plain, words_of
from epmctl.requestcalls import find_request, requests_of
from epmctl.requestdenial import denial_of
from epmctl.requestshow import LIST_FIT, detail, list_columns

_STATES: Final = words_of(requests_pb2.ElevationRequestState.DESCRIPTOR)


@click.group(cls=CommandGroup)
def requests() -> None:
    """List requests for approval, and answer them."""


for _command in (approve, candidates, deny, notices, revoke, watch):
    requests.add_command(_command)


@requests.command(name="list")
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice(tuple(_STATES), case_sensitive=False),
    help="Only those in this state; again for more.",
)
@click.option("--filter", "filter_", default="", metavar="FILTER", help="Only those that a filter finds.")
@limit_option
@output_option
def list_(*, states: Sequence[str], filter_: str, limit: int, output: str) -> None:
    """List requests, newest first: all that are pending and those of the last 30 days, or what is asked for.

    A filter compares state, user, device, deviceId, fileName, sha256, publisher, reviewer, policy, rule, submitted and
    reviewDeadline, as in 'user = "alice" AND submitted > "2026-11-01T00:00:00Z"'.
    """
    with logged_in() as client:
        found = list(_found(client, _filter(states, filter_), to_ask(limit)))
    rows = within(found, limit)
    if output == "json":
        print_json(rows)
    else:
        print_fitted(list_columns(datetime.now(UTC)), rows, LIST_FIT)
    say_if_more(found, limit)


@requests.command(name="show")
@click.argument("request_id", metavar="ID")
@click.option(
    "--certificates",
    "place",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the certificates of the file's signature there, PEM, the signing one first.",
)
@output_option
def show_(*, request_id: str, place: Path | None, output: str) -> None:
    """Show all there is to know of a request."""
    with logged_in() as client:
        answer = find_request(client, request_id)
    if output == "json":
        print_json(to_plain(answer))
    else:
        rows = list(detail(to_plain(answer), datetime.now(UTC)))
        rows += [("DENIED BY", denied)] if (denied := denial_of(answer)) else []
        width = max(len(heading) for heading, _ in rows)
        for heading, value in (("ID", answer.request.id), *rows):
            click.echo(f"{heading:<{width}}  {show(value)}")
    if place is not None:
        _write(place, answer.certificates)


def _found(client: Client, filter_: str, limit: int | None) -> Iterator[Record]:

    def fetch(size: int, token: str) -> tuple[Sequence[Record], str]:
        request = requests_pb2.ListElevationRequestsRequest(filter=filter_, page_size=size, page_token=token)
        page = client.call(requests_of(client).ListElevationRequests, request)
        return [to_plain(each) for each in page.requests], page.next_page_token

    return client.pages(fetch, limit=limit)


def _filter(states: Sequence[str], filter_: str) -> str:
    """Join what is asked for; a filter of several comparisons stays one."""
    wanted = " OR ".join(f'state = "{state.upper()}"' for state in states)
    return " AND ".join(f"({part})" for part in (wanted, filter_) if part)


def _write(place: Path, certificates: Sequence[bytes]) -> None:
    """Write certificates as the device sent them, whatever they hold."""
    if not certificates:
        raise CommandError("the file is not signed: there are no certificates to write")
    try:
        write_whole(place, "".join(map(DER_cert_to_PEM_cert, certificates)))
    except OSError as error:
        raise CommandError(f"{place} cannot be written: {error.strerror}; name another file") from None
