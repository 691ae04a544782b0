"""`epm report consumers`: how far each of one's own consumers of exports is; set one to a time, delete one."""

from datetime import datetime
from typing import Final

import click

from epm.reporting.v1 import export_pb2, export_pb2_grpc
from epmctl.client import Client, logged_in
from epmctl.confirm import confirm, yes_option
from epmctl.csvtext import print_csv_of
from epmctl.fitted import AS_IT_COMES, print_fitted
from epmctl.grouping import CommandGroup
from epmctl.kinds.model import at, time_at
from epmctl.moments import METAVAR, past
from epmctl.output import csv_output_option, output_option, print_json, show, whole_seconds
from epmctl.plain import to_plain, to_timestamp
from epmctl.reason import reason_option

_COLUMNS: Final = {
    "NAME": at("name"),
    "BEHIND": at("behind"),
    "OLDEST": time_at("oldest"),
    "CONNECTED": at("connected"),
}


@click.group(cls=CommandGroup)
def consumers() -> None:
    """Look after your consumers of exports, such as a SIEM: everybody has their own."""


@consumers.command(name="list")
@csv_output_option
def list_(output: str) -> None:
    """List them by name, with how many attempts each has not acknowledged, and since when."""
    with logged_in() as client:

        def fetch(size: int, token: str) -> tuple[list[export_pb2.Consumer], str]:
            request = export_pb2.ListConsumersRequest(page_size=size, page_token=token)
            page = client.call(_service(client).ListConsumers, request)
            return list(page.consumers), page.next_page_token

        found = [to_plain(one) for one in client.pages(fetch, limit=None)]
    if output == "json":
        print_json(found)
    elif output == "csv":
        print_csv_of(export_pb2.Consumer.DESCRIPTOR, found)
    else:
        print_fitted(_COLUMNS, found, AS_IT_COMES)


@consumers.command()
@click.argument("name")
@click.option("--to", "time", type=past, required=True, metavar=METAVAR, help="The time; a span counts back from now.")
@yes_option
@reason_option
@output_option
def rewind(*, name: str, time: datetime, yes: bool, reason: str, output: str) -> None:
    """Set one to a time: it gets again, or leaves out, what was stored in between, and loses its stream."""
    confirm(f"set the consumer {show(name)} to {time:%Y-%m-%dT%H:%M:%SZ}, wherever it is?", yes=yes)
    request = export_pb2.RewindConsumerRequest(name=name, received_from=to_timestamp(time))
    with logged_in(reason) as client:
        consumer = client.call(_service(client).RewindConsumer, request).consumer
    if output == "json":
        print_json(to_plain(consumer))
        return
    first = f"; the first was stored at {whole_seconds(consumer.oldest.ToJsonString())}" if consumer.behind else ""
    click.echo(f"consumer {show(consumer.name)} is behind by {consumer.behind}{first}")


@consumers.command()
@click.argument("name")
@yes_option
@reason_option
def delete(*, name: str, yes: bool, reason: str) -> None:
    """Forget one, and how far it was: of this name there is none until one begins anew."""
    confirm(f"delete the consumer {show(name)}, and how far it was?", yes=yes)
    with logged_in(reason) as client:
        client.call(_service(client).DeleteConsumer, export_pb2.DeleteConsumerRequest(name=name))
    click.echo(f"consumer {show(name)} is deleted")


def _service(client: Client) -> export_pb2_grpc.ExportServiceStub:
    return export_pb2_grpc.ExportServiceStub(client.channel)
