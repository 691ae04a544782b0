"""`epm report`: what was elevated, by whom, on which device, and under which rule."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

import click
from google.protobuf.message import Message

from epm.reporting.v1 import reports_pb2, reports_pb2_grpc
from epmctl.client import Client, logged_in
from epmctl.commands.tail import tail
from epmctl.elevations import ELEVATION_COLUMNS
from epmctl.kinds.model import Column, at
from epmctl.limits import limit_option, say_if_more, to_ask, within
from epmctl.output import Record, output_option, print_json, print_table
from epmctl.plain import to_plain
from epmctl.reportfilter import filter_options

_LARGEST_PAGE: Final = 250
"""An attempt may name many rules that lost: a page of them has to fit into one message."""


@dataclass(frozen=True, slots=True)
class ListReport:
    """A report that is a list: how to ask for a page of it, and what its table shows."""

    page: Callable[[Client, reports_pb2.ElevationFilter, int, str], Message]
    columns: Mapping[str, Column]


@click.group()
def report() -> None:
    """Show what was elevated, by whom, and under which rule."""


report.add_command(tail)


@report.command()
@filter_options
@output_option
def summary(asked: reports_pb2.ElevationFilter, output: str) -> None:
    """Count attempts: managed and unmanaged, by result and by elevation type."""
    with logged_in() as client:
        request = reports_pb2.SummarizeElevationsRequest(filter=asked)
        answer = to_plain(client.call(_reports(client).SummarizeElevations, request))
    if output == "json":
        print_json(answer)
        return
    print_table(("ATTEMPTS", "COUNT"), [(name, answer[name]) for name in ("total", "managed", "unmanaged")])
    for heading, counts, word in _BREAKDOWNS:
        click.echo()
        rows = cast("Sequence[Record]", answer[counts])
        print_table((heading, "COUNT"), [(row[word], row["count"]) for row in rows])


def _list_report(name: str, help_text: str, shown: ListReport) -> None:
    """Add the command for a report that is a list."""

    @report.command(name=name, help=help_text)
    @filter_options
    @limit_option
    @output_option
    def command(asked: reports_pb2.ElevationFilter, limit: int, output: str) -> None:
        with logged_in() as client:
            found = list(_entries(client, shown, asked, to_ask(limit)))
        rows = within(found, limit)
        if output == "json":
            print_json(rows)
        else:
            print_table(list(shown.columns), [[column(row) for column in shown.columns.values()] for row in rows])
        say_if_more(found, limit)


def _entries(
    client: Client, shown: ListReport, asked: reports_pb2.ElevationFilter, limit: int | None
) -> Iterator[Record]:
    def fetch(size: int, token: str) -> tuple[Sequence[Record], str]:
        page = to_plain(shown.page(client, asked, min(size, _LARGEST_PAGE), token))
        next_token = cast("str", page.pop("nextPageToken"))
        (entries,) = page.values()
        return cast("Sequence[Record]", entries), next_token

    return client.pages(fetch, limit=limit)


def _reports(client: Client) -> reports_pb2_grpc.ReportingServiceStub:
    return reports_pb2_grpc.ReportingServiceStub(client.channel)


_BREAKDOWNS: Final = (("RESULT", "results", "result"), ("ELEVATION TYPE", "elevationTypes", "elevationType"))

_list_report(
    "elevations",
    "List attempts, newest first.",
    ListReport(
        lambda client, asked, size, token: client.call(
            _reports(client).ListElevations,
            reports_pb2.ListElevationsRequest(filter=asked, page_size=size, page_token=token),
        ),
        ELEVATION_COLUMNS,
    ),
)
_list_report(
    "applications",
    "Count attempts by application, most first.",
    ListReport(
        lambda client, asked, size, token: client.call(
            _reports(client).ListApplications,
            reports_pb2.ListApplicationsRequest(filter=asked, page_size=size, page_token=token),
        ),
        {
            "COUNT": at("count"),
            "FILE": at("fileName"),
            "VERSION": at("version"),
            "COMPANY": at("companyName"),
            "ELEVATION TYPE": at("elevationType"),
            "SHA-256": at("sha256"),
        },
    ),
)
_list_report(
    "publishers",
    "Count attempts by publisher, most first.",
    ListReport(
        lambda client, asked, size, token: client.call(
            _reports(client).ListPublishers,
            reports_pb2.ListPublishersRequest(filter=asked, page_size=size, page_token=token),
        ),
        {"COUNT": at("count"), "ELEVATION TYPE": at("elevationType"), "PUBLISHER": at("publisher")},
    ),
)
_list_report(
    "users",
    "Count attempts by user, most first.",
    ListReport(
        lambda client, asked, size, token: client.call(
            _reports(client).ListUsers,
            reports_pb2.ListUsersRequest(filter=asked, page_size=size, page_token=token),
        ),
        {"USER": at("user"), "MANAGED": at("managed"), "UNMANAGED": at("unmanaged"), "TOTAL": at("total")},
    ),
)
