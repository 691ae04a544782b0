"""`epm report user-applications`: who elevated what, where and how often, day by day or month by month."""

from collections.abc import Mapping

import click
from google.protobuf.message import Message

from epm.reporting.v1 import insights_pb2, reports_pb2
from epmctl.client import Client, logged_in
from epmctl.fitted import Fit
from epmctl.insights import PERIODS, insights_of, period_of, period_option
from epmctl.kinds.model import Column, at
from epmctl.limits import limit_option, to_ask
from epmctl.reportfile import file_output
from epmctl.reportfilter import filter_options
from epmctl.reportlists import ListReport, entries, show_list
from epmctl.reportopen import open_option, opened


@click.command(name="user-applications")
@filter_options
@period_option
@open_option
@limit_option
@file_output("user-applications")
def user_applications(
    asked: reports_pb2.ElevationFilter, *, period: str, row: int | None, limit: int, output: str
) -> None:
    """Count attempts by user, device and application for each day or month in UTC, the newest first."""
    shown = _list_of(period)
    with logged_in() as client:
        listed = shown if row is None else opened(client, shown, asked, row)
        found = list(entries(client, listed, asked, to_ask(limit)))
    show_list(listed, found, limit, output)


def _list_of(period: str) -> ListReport:
    def page(client: Client, asked: reports_pb2.ElevationFilter, size: int, token: str) -> Message:
        request = insights_pb2.ListUserApplicationsRequest(
            filter=asked, period=PERIODS[period], page_size=size, page_token=token
        )
        return client.call(insights_of(client).ListUserApplications, request)

    columns: Mapping[str, Column] = {
        period.upper(): lambda record: period_of(record, period),
        "USER": at("user"),
        "DEVICE": at("deviceName"),
        "COUNT": at("application.count"),
        "FILE": at("application.fileName"),
        "VERSION": at("application.version"),
        "PUBLISHER": at("application.publisher"),
        "ELEVATION TYPE": at("application.elevationType"),
    }
    entry = insights_pb2.UserApplicationCount.DESCRIPTOR
    return ListReport(
        "", entry, page, columns, Fit(whole=(period.upper(),), spare=("ELEVATION TYPE", "VERSION", "PUBLISHER"))
    )
