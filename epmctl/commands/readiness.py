"""`epm report readiness` and `obstacles`: who could do without administrator rights today, and what is in the others' way."""

import functools
from collections.abc import Mapping, Sequence
from typing import Final, cast

import click
from google.protobuf.message import Message

from epm.reporting.v1 import insights_pb2, reports_pb2
from epmctl.chart import Pen, room, share
from epmctl.client import Client, logged_in
from epmctl.fitted import Fit
from epmctl.insights import insights_of
from epmctl.kinds.model import Column, at
from epmctl.limits import limit_option, to_ask
from epmctl.output import Plain, Record, width_of
from epmctl.reportfile import FORMS, SUBJECTS, file_output
from epmctl.reportfilter import Command, filter_options
from epmctl.reportlists import ListReport, entries, show_list
from epmctl.reportopen import open_option, opened

_VERDICTS: Final = {
    "ready": insights_pb2.READINESS_READY,
    "partly": insights_pb2.READINESS_PARTLY,
    "unmanaged": insights_pb2.READINESS_UNMANAGED,
}
_WIDEST: Final = 60
_NAMED: Final = 3
"""Obstacles that a table names beside a user or a device."""


class _Asked:
    """Ask for pages of readiness, and keep how all entries are split, which every page tells."""

    def __init__(self, subject: str, verdicts: Sequence[str]) -> None:
        self._subject = SUBJECTS[subject]
        self._verdicts = [_VERDICTS[verdict] for verdict in verdicts]
        self.split = insights_pb2.ReadinessSplit()

    def page(self, client: Client, asked: reports_pb2.ElevationFilter, size: int, token: str) -> Message:
        """Ask for a page."""
        request = insights_pb2.ListReadinessRequest(
            filter=asked, subject=self._subject, readiness=self._verdicts, page_size=size, page_token=token
        )
        answer = client.call(insights_of(client).ListReadiness, request)
        self.split = answer.split
        return answer


def _whole_in_files(command: Command) -> Command:
    """Refuse verdicts for files, which hold everybody."""

    @functools.wraps(command)
    def checked(*, verdicts: tuple[str, ...], output: str, **others: object) -> object:
        if verdicts and output in FORMS:
            raise click.UsageError(f"--output {output} prints the whole report; leave --verdict out")
        return command(verdicts=verdicts, output=output, **others)

    return checked


@click.command()
@filter_options
@click.option(
    "--by",
    "subject",
    type=click.Choice(tuple(SUBJECTS)),
    default="user",
    show_default=True,
    help="Judge users over all devices, or devices over all users.",
)
@click.option(
    "--verdict",
    "verdicts",
    type=click.Choice(tuple(_VERDICTS)),
    multiple=True,
    help="Only who is ready, partly managed or not managed at all; again for more.",
)
@open_option
@limit_option
@_whole_in_files
@file_output("readiness")
def readiness(
    asked: reports_pb2.ElevationFilter,
    *,
    subject: str,
    verdicts: tuple[str, ...],
    row: int | None,
    limit: int,
    output: str,
) -> None:
    """Show who could do without administrator rights today: all their attempts were managed. Those come first.

    What stands in the way of the others is named beside them, most attempts first.
    """
    _about_both(asked)
    pages = _Asked(subject, verdicts)
    columns = _DEVICE_COLUMNS if subject == "device" else _USER_COLUMNS
    shown = ListReport("", insights_pb2.ReadinessEntry.DESCRIPTOR, pages.page, columns, _READINESS_FIT)
    with logged_in() as client:
        listed = shown if row is None else opened(client, shown, asked, row)
        found = list(entries(client, listed, asked, to_ask(limit)))
    if output == "table" and row is None:
        _print_split(subject, pages.split)
    show_list(listed, found, limit, output)
    if output == "table" and row is None and pages.split.both + pages.split.unmanaged_only:
        click.echo("epm report obstacles, with the same options, shows what to manage first", err=True)


@click.command()
@filter_options
@open_option
@limit_option
@file_output("obstacles")
def obstacles(asked: reports_pb2.ElevationFilter, *, row: int | None, limit: int, output: str) -> None:
    """Show the applications that keep users from being ready, those first that alone keep most of them.

    FREED are the users who would be ready if this application alone were managed.
    """
    _about_both(asked)
    shown = ListReport("", insights_pb2.Obstacle.DESCRIPTOR, _obstacles, _OBSTACLE_COLUMNS, _OBSTACLE_FIT)
    with logged_in() as client:
        listed = shown if row is None else opened(client, shown, asked, row)
        found = list(entries(client, listed, asked, to_ask(limit)))
    show_list(listed, found, limit, output)
    if output == "table" and row is None and found:
        click.echo("epm rule propose --event ATTEMPT makes a rule for the file of an attempt", err=True)


def _about_both(asked: reports_pb2.ElevationFilter) -> None:
    if asked.HasField("managed"):
        raise click.UsageError("who is ready shows in all attempts together; leave --managed and --unmanaged out")


def _obstacles(client: Client, asked: reports_pb2.ElevationFilter, size: int, token: str) -> Message:
    request = insights_pb2.ListObstaclesRequest(filter=asked, page_size=size, page_token=token)
    return client.call(insights_of(client).ListObstacles, request)


def _print_split(subject: str, split: insights_pb2.ReadinessSplit) -> None:
    """Say on top how all of them are split, whatever the table lists."""
    pen, parts = Pen.for_output(), (split.managed_only, split.both, split.unmanaged_only)
    total = sum(parts)
    click.echo(f"{total:,} {subject}{'' if total == 1 else 's'} with attempts")
    if total:
        click.echo(pen.bar(parts, total, min(room(), _WIDEST)))
        words = zip(pen.fills, _VERDICTS, parts, strict=True)
        told = [f"{fill} {word} {part:,} ({share(part, total)})" for fill, word, part in words]
        line = "  ".join(told)
        click.echo(line if width_of(line) <= room() else "\n".join(told))
        click.echo()


def _in_the_way(record: Record) -> Plain:
    """Name the first obstacles, and say how many more there are."""
    first = [cast("str", each["fileName"]) or "(no name)" for each in cast("Sequence[Record]", record["obstacles"])]
    more = cast("int", record["obstacleCount"]) - len(first[:_NAMED])
    return ", ".join([*first[:_NAMED], *([f"{more} more"] if more else [])])


_COUNTED: Final[Mapping[str, Column]] = {
    "VERDICT": at("readiness"),
    "ADMIN": at("administrator"),
    "MANAGED": at("managed"),
    "UNMANAGED": at("unmanaged"),
    "IN THE WAY": _in_the_way,
}
_USER_COLUMNS: Final[Mapping[str, Column]] = {"USER": at("user"), **_COUNTED}
_DEVICE_COLUMNS: Final[Mapping[str, Column]] = {"DEVICE": at("deviceName"), **_COUNTED}
_READINESS_FIT: Final = Fit(whole=("VERDICT",), spare=("ADMIN", "MANAGED", "UNMANAGED"))
_OBSTACLE_COLUMNS: Final[Mapping[str, Column]] = {
    "FREED": at("usersFreed"),
    "USERS": at("users"),
    "DEVICES": at("devices"),
    "COUNT": at("application.count"),
    "FILE": at("application.fileName"),
    "VERSION": at("application.version"),
    "PUBLISHER": at("application.publisher"),
    "ATTEMPT": at("attemptId"),
}
_OBSTACLE_FIT: Final = Fit(whole=("ATTEMPT",), spare=("VERSION", "PUBLISHER", "DEVICES", "COUNT", "USERS"))
