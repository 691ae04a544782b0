"""`epm report gaps`: places of journals that never came, and how many events agents said that they lost."""

from collections.abc import Sequence
from typing import Final

import click

from epm.reporting.v1 import intake_pb2, intake_pb2_grpc
from epmctl.client import Client, logged_in
from epmctl.commands.diagnostics import EVENTS_LOST, said
from epmctl.csvtext import print_csv_of
from epmctl.fitted import Fit, print_fitted
from epmctl.intakefilter import device_or_id, intake_options
from epmctl.kinds.model import at, time_at
from epmctl.limits import limit_option, say_if_more, to_ask, within
from epmctl.output import Plain, Record, csv_output_option, print_json
from epmctl.plain import to_plain

_MISSING: Final = "missing"
_COLUMNS: Final = {
    "NOTICED": time_at("noticed"),
    "DEVICE": device_or_id,
    "JOURNAL": at("journalId"),
    "FIRST": at("firstSeq"),
    "LAST": at("lastSeq"),
    "MISSING": at(_MISSING),
}


@click.command()
@intake_options
@limit_option
@csv_output_option
def gaps(asked: intake_pb2.IntakeFilter, limit: int, output: str) -> None:
    """List places of journals that never came, newest notice first, and say how many events agents said they lost."""
    with logged_in() as client:
        found = _gaps(client, asked, to_ask(limit))
        losses = said(client, asked, [EVENTS_LOST], None)
    rows = within(found, limit)
    lost = sum(one.diagnostic.count for one in losses)
    devices = len({one.device_id for one in losses})
    if output == "json":
        shown: dict[str, Plain] = {"gaps": rows, "eventsLost": lost, "devicesThatLost": devices}
        print_json(shown)
    elif output == "csv":
        print_csv_of(intake_pb2.Gap.DESCRIPTOR, rows, [_MISSING])
    else:
        print_fitted(_COLUMNS, rows, Fit(whole=("NOTICED",), spare=("JOURNAL",)))
        click.echo()
        told = f"events that agents said they lost: {lost}, on devices: {devices}; epm report diagnostics --code {EVENTS_LOST}"
        click.echo(told if losses else "no agent said that it lost events")
    say_if_more(found, limit)


def _gaps(client: Client, asked: intake_pb2.IntakeFilter, limit: int | None) -> Sequence[Record]:
    def fetch(size: int, token: str) -> tuple[Sequence[Record], str]:
        request = intake_pb2.ListGapsRequest(filter=asked, page_size=size, page_token=token)
        page = client.call(intake_pb2_grpc.IntakeServiceStub(client.channel).ListGaps, request)
        found = [{**to_plain(gap), _MISSING: gap.last_seq - gap.first_seq + 1} for gap in page.gaps]
        return found, page.next_page_token

    return list(client.pages(fetch, limit=limit))
