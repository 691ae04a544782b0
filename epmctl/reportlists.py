"""The reports that are lists: how to ask for their entries, and what a table shows of each."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import click
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from epm.elevation.v1 import event_pb2
from epm.reporting.v1 import reports_pb2, reports_pb2_grpc
from epmctl.client import Client
from epmctl.elevations import ELEVATION_FIT, LISTED_COLUMNS
from epmctl.fitted import AS_IT_COMES, Fit, print_fitted
from epmctl.kinds.model import Column, at
from epmctl.limits import say_if_more, within
from epmctl.output import Record, print_json
from epmctl.plain import to_plain

NUMBER: Final = "#"
_LARGEST_PAGE: Final = 250
"""An attempt may name many rules that lost: a page of them has to fit into one message."""


Page = Callable[[Client, reports_pb2.ElevationFilter, int, str], Message]
"""Asks for so many entries behind a token."""


@dataclass(frozen=True, slots=True)
class ListReport:
    """A report that is a list: what it tells, its kind of entry, how to ask for a page, and what its table shows."""

    help: str
    entry: Descriptor
    page: Page
    columns: Mapping[str, Column]
    fit: Fit = AS_IT_COMES
    narrow: Callable[[reports_pb2.ElevationFilter], reports_pb2.ElevationFilter] = lambda asked: asked
    """Narrows what is asked for to what the report is about. Raises UsageError where that leaves nothing."""
    orders: Sequence[str] = ()
    """What it may be ordered by."""
    ordered: Callable[[str], Page] | None = None
    """Makes what asks for a page in an order; None where there is one order alone."""


def reports_of(client: Client) -> reports_pb2_grpc.ReportingServiceStub:
    """Call the reporting service."""
    return reports_pb2_grpc.ReportingServiceStub(client.channel)


def entries(
    client: Client, shown: ListReport, asked: reports_pb2.ElevationFilter, limit: int | None
) -> Iterator[Record]:
    """Give up to `limit` entries of a report (None: all), page by page, as they are printed."""
    return map(to_plain, messages(client, shown, asked, limit))


def messages(
    client: Client, shown: ListReport, asked: reports_pb2.ElevationFilter, limit: int | None
) -> Iterator[Message]:
    """Give up to `limit` entries of a report (None: all), page by page, as the server tells them."""
    about = shown.narrow(asked)

    def fetch(size: int, token: str) -> tuple[Sequence[Message], str]:
        page = shown.page(client, about, min(size, _LARGEST_PAGE), token)
        (items,) = (field.name for field in page.DESCRIPTOR.fields if field.is_repeated)
        return getattr(page, items), getattr(page, "next_page_token")  # noqa: B009 - every page of a list has one

    return client.pages(fetch, limit=limit)


def may_open(shown: ListReport) -> bool:
    """Tell whether rows of the report say which attempts they counted; they are numbered then."""
    return not {"drill_down", "application"}.isdisjoint(shown.entry.fields_by_name)


def show_list(shown: ListReport, found: Sequence[Record], limit: int, output: str) -> None:
    """Print what was found of a report, up to the limit, and say if there is more."""
    rows = within(found, limit)
    if output == "json":
        print_json(rows)
    elif may_open(shown):
        rows = [{NUMBER: number, **row} for number, row in enumerate(rows, 1)]
        print_fitted({NUMBER: at(NUMBER), **shown.columns}, rows, shown.fit)
    else:
        print_fitted(shown.columns, rows, shown.fit)
    if not rows and output != "json":
        click.echo("none", err=True)
    say_if_more(found, limit)


def attempts_behind(drill_down: reports_pb2.ElevationFilter) -> ListReport:
    """Give the list of the attempts that a row of another report counted."""
    return replace(_ATTEMPTS, page=_elevations("", drill_down))


def _elevations(order_by: str, drill_down: reports_pb2.ElevationFilter | None = None) -> Page:
    def page(client: Client, asked: reports_pb2.ElevationFilter, size: int, token: str) -> Message:
        request = reports_pb2.ListElevationsRequest(
            filter=asked, page_size=size, page_token=token, order_by=order_by, drill_down=drill_down
        )
        return client.call(reports_of(client).ListElevations, request)

    return page


def _applications(order_by: str) -> Page:
    return lambda client, asked, size, token: client.call(
        reports_of(client).ListApplications,
        reports_pb2.ListApplicationsRequest(filter=asked, page_size=size, page_token=token, order_by=order_by),
    )


def _publishers(order_by: str) -> Page:
    return lambda client, asked, size, token: client.call(
        reports_of(client).ListPublishers,
        reports_pb2.ListPublishersRequest(filter=asked, page_size=size, page_token=token, order_by=order_by),
    )


def _users(order_by: str) -> Page:
    return lambda client, asked, size, token: client.call(
        reports_of(client).ListUsers,
        reports_pb2.ListUsersRequest(filter=asked, page_size=size, page_token=token, order_by=order_by),
    )


def _managed(asked: reports_pb2.ElevationFilter) -> reports_pb2.ElevationFilter:
    if asked.HasField("managed") and not asked.managed:
        raise click.UsageError("what a rule decided is managed; leave --unmanaged out")
    narrowed = reports_pb2.ElevationFilter(governed_by_rule=True)
    narrowed.MergeFrom(asked)
    return narrowed


def _denied(asked: reports_pb2.ElevationFilter) -> reports_pb2.ElevationFilter:
    if asked.results and event_pb2.ATTEMPT_RESULT_DENIED not in asked.results:
        raise click.UsageError("this report is about DENIED alone; leave --result out")
    narrowed = reports_pb2.ElevationFilter()
    narrowed.CopyFrom(asked)
    narrowed.results[:] = [event_pb2.ATTEMPT_RESULT_DENIED]
    return narrowed


_ATTEMPTS: Final = ListReport(
    "List attempts, newest first.",
    reports_pb2.Elevation.DESCRIPTOR,
    _elevations(""),
    LISTED_COLUMNS,
    ELEVATION_FIT,
    orders=("occurred",),
    ordered=_elevations,
)

LIST_REPORTS: Final[Mapping[str, ListReport]] = {
    "elevations": _ATTEMPTS,
    "managed": replace(_ATTEMPTS, help="List attempts that a rule decided, newest first.", narrow=_managed),
    "denied": replace(_ATTEMPTS, help="List attempts that were denied, newest first.", narrow=_denied),
    "applications": ListReport(
        "Count attempts by application, most first.",
        reports_pb2.ApplicationCount.DESCRIPTOR,
        _applications(""),
        {
            "COUNT": at("count"),
            "FILE": at("fileName"),
            "VERSION": at("version"),
            "COMPANY": at("companyName"),
            "ELEVATION TYPE": at("elevationType"),
            "SHA-256": at("sha256"),
        },
        Fit(spare=("SHA-256", "VERSION", "ELEVATION TYPE")),
        orders=("count", "file_name", "company_name", "version"),
        ordered=_applications,
    ),
    "publishers": ListReport(
        "Count attempts by publisher, most first.",
        reports_pb2.PublisherCount.DESCRIPTOR,
        _publishers(""),
        {"COUNT": at("count"), "ELEVATION TYPE": at("elevationType"), "PUBLISHER": at("publisher")},
        orders=("count", "publisher"),
        ordered=_publishers,
    ),
    "users": ListReport(
        "Count attempts by user, most first.",
        reports_pb2.UserCount.DESCRIPTOR,
        _users(""),
        {"USER": at("user"), "MANAGED": at("managed"), "UNMANAGED": at("unmanaged"), "TOTAL": at("total")},
        orders=("total", "managed", "unmanaged", "user"),
        ordered=_users,
    ),
}
