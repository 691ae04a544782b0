"""`epm requests notices`: messages to approvers that were not delivered: look at them, and have them sent again."""

from collections.abc import Sequence
from typing import Final, cast

import click

from epm.policy.v1 import requests_pb2
from epmctl.client import Client, logged_in
from epmctl.fitted import Fit, print_fitted
from epmctl.grouping import CommandGroup
from epmctl.kinds.model import at, time_at
from epmctl.limits import limit_option, say_if_more, to_ask, within
from epmctl.output import Record, output_option, print_json
from epmctl.plain import to_plain
from epmctl.reason import reason_option
from epmctl.requestcalls import requests_of

MOST_RETRIED: Final = 100
"""Messages that one call names."""

_COLUMNS: Final = {
    "ID": at("id"),
    "DEVICE": at("deviceName"),
    "TRIES": at("tries"),
    "NEXT": time_at("due"),
    "GIVEN UP": time_at("givenUp"),
    "ERROR": at("error"),
}
_FIT: Final = Fit(whole=("ID",), spare=("DEVICE", "NEXT"))


@click.group(cls=CommandGroup)
def notices() -> None:
    """Look at messages to approvers that were not delivered, and have them sent again."""


@notices.command(name="list")
@click.option("--dead", is_flag=True, help="Only those that were given up.")
@limit_option
@output_option
def list_(*, dead: bool, limit: int, output: str) -> None:
    """List messages that their receivers do not have, those of the newest requests first."""
    with logged_in() as client:
        found = _messages(client, to_ask(limit), dead=dead)
    rows = within(found, limit)
    if output == "json":
        print_json(rows)
    else:
        print_fitted(_COLUMNS, rows, _FIT)
    say_if_more(found, limit)


@notices.command()
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All that were given up.")
@reason_option
@output_option
def retry(*, ids: Sequence[str], everything: bool, reason: str, output: str) -> int:
    """Have messages that were given up be sent again.

    The exit code is 1 where one that was named was not given up, or is not there.
    """
    if bool(ids) == everything:
        raise click.UsageError("name the messages by their ID, or give --all")
    retried = 0
    with logged_in(reason) as client:
        wanted = list(dict.fromkeys(ids)) or [cast("str", each["id"]) for each in _messages(client, None, dead=True)]
        for start in range(0, len(wanted), MOST_RETRIED):
            request = requests_pb2.RetryNoticesRequest(ids=wanted[start : start + MOST_RETRIED])
            retried += client.call(requests_of(client).RetryNotices, request).retried
    if output == "json":
        print_json({"retried": retried, "passedOver": len(wanted) - retried})
    else:
        click.echo(f"sent again {retried}, passed over {len(wanted) - retried}")
    return 0 if retried == len(wanted) or everything else 1


def _messages(client: Client, limit: int | None, *, dead: bool) -> Sequence[Record]:
    def fetch(size: int, token: str) -> tuple[Sequence[Record], str]:
        request = requests_pb2.ListUndeliveredNoticesRequest(given_up=dead, page_size=size, page_token=token)
        page = client.call(requests_of(client).ListUndeliveredNotices, request)
        return [to_plain(each) for each in page.notices], page.next_page_token

    return list(client.pages(fetch, limit=limit))
