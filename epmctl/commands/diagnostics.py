"""`epm report diagnostics`: what agents say of their own health, losses of events among it."""

from collections.abc import Sequence
from typing import Final

import click

from epm.reporting.v1 import export_pb2, intake_pb2, intake_pb2_grpc
from epmctl.client import Client, logged_in
from epmctl.csvtext import print_csv_of
from epmctl.fitted import Fit, print_fitted
from epmctl.intakefilter import device_or_id, intake_options
from epmctl.kinds.model import at, time_at
from epmctl.limits import limit_option, say_if_more, to_ask, within
from epmctl.output import Record, csv_output_option, print_json
from epmctl.plain import to_plain

EVENTS_LOST: Final = "EVENTS_LOST"
"""What an agent says that lost events."""

_COLUMNS: Final = {
    "OCCURRED": time_at("occurred"),
    "DEVICE": device_or_id,
    "CODE": at("diagnostic.code"),
    "EVENTS": at("diagnostic.count"),
    "MESSAGE": at("diagnostic.message"),
}


@click.command()
@intake_options
@click.option("--code", "codes", multiple=True, metavar="CODE", help="Of this code; again for more.")
@limit_option
@csv_output_option
def diagnostics(asked: intake_pb2.IntakeFilter, codes: Sequence[str], limit: int, output: str) -> None:
    """List what agents said of their own health, newest first; losses have the code EVENTS_LOST."""
    with logged_in() as client:
        found = [to_plain(one) for one in said(client, asked, codes, to_ask(limit))]
    rows: Sequence[Record] = within(found, limit)
    if output == "json":
        print_json(rows)
    elif output == "csv":
        print_csv_of(export_pb2.DeviceDiagnostic.DESCRIPTOR, rows)
    else:
        print_fitted(_COLUMNS, rows, Fit(whole=("OCCURRED",), spare=("EVENTS",), last=("CODE", "MESSAGE")))
    say_if_more(found, limit)


def said(
    client: Client, asked: intake_pb2.IntakeFilter, codes: Sequence[str], limit: int | None
) -> Sequence[export_pb2.DeviceDiagnostic]:
    """Return what agents said with these codes, up to the limit; None: all."""

    def fetch(size: int, token: str) -> tuple[Sequence[export_pb2.DeviceDiagnostic], str]:
        request = intake_pb2.ListDiagnosticsRequest(filter=asked, codes=codes, page_size=size, page_token=token)
        page = client.call(intake_pb2_grpc.IntakeServiceStub(client.channel).ListDiagnostics, request)
        return page.diagnostics, page.next_page_token

    return list(client.pages(fetch, limit=limit))
