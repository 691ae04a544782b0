"""The reports that are lists: how to ask for their entries, and what a table shows of each."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from epm.reporting.v1 import reports_pb2, reports_pb2_grpc
from epmctl.client import Client
from epmctl.elevations import ELEVATION_COLUMNS
from epmctl.kinds.model import Column, at
from epmctl.output import Record
from epmctl.plain import to_plain

_LARGEST_PAGE: Final = 250
"""An attempt may name many rules that lost: a page of them has to fit into one message."""


@dataclass(frozen=True, slots=True)
class ListReport:
    """A report that is a list: what it tells, its kind of entry, how to ask for a page, and what its table shows."""

    help: str
    entry: Descriptor
    page: Callable[[Client, reports_pb2.ElevationFilter, int, str], Message]
    columns: Mapping[str, Column]


def reports_of(client: Client) -> reports_pb2_grpc.ReportingServiceStub:
    """Call the reporting service."""
    return reports_pb2_grpc.ReportingServiceStub(client.channel)


def entries(
    client: Client, shown: ListReport, asked: reports_pb2.ElevationFilter, limit: int | None
) -> Iterator[Record]:
    """Give up to `limit` entries of a report (None: all), page by page."""

    def fetch(size: int, token: str) -> tuple[Sequence[Record], str]:
        page = to_plain(shown.page(client, asked, min(size, _LARGEST_PAGE), token))
        next_token = cast("str", page.pop("nextPageToken"))
        (found,) = page.values()
        return cast("Sequence[Record]", found), next_token

    return client.pages(fetch, limit=limit)


LIST_REPORTS: Final[Mapping[str, ListReport]] = {
    "elevations": ListReport(
        "List attempts, newest first.",
        reports_pb2.Elevation.DESCRIPTOR,
        lambda client, asked, size, token: client.call(
            reports_of(client).ListElevations,
            reports_pb2.ListElevationsRequest(filter=asked, page_size=size, page_token=token),
        ),
        ELEVATION_COLUMNS,
    ),
    "applications": ListReport(
        "Count attempts by application, most first.",
        reports_pb2.ApplicationCount.DESCRIPTOR,
        lambda client, asked, size, token: client.call(
            reports_of(client).ListApplications,
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
    "publishers": ListReport(
        "Count attempts by publisher, most first.",
        reports_pb2.PublisherCount.DESCRIPTOR,
        lambda client, asked, size, token: client.call(
            reports_of(client).ListPublishers,
            reports_pb2.ListPublishersRequest(filter=asked, page_size=size, page_token=token),
        ),
        {"COUNT": at("count"), "ELEVATION TYPE": at("elevationType"), "PUBLISHER": at("publisher")},
    ),
    "users": ListReport(
        "Count attempts by user, most first.",
        reports_pb2.UserCount.DESCRIPTOR,
        lambda client, asked, size, token: client.call(
            reports_of(client).ListUsers,
            reports_pb2.ListUsersRequest(filter=asked, page_size=size, page_token=token),
        ),
        {"USER": at("user"), "MANAGED": at("managed"), "UNMANAGED": at("unmanaged"), "TOTAL": at("total")},
    ),
}
