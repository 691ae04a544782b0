"""Reports as files: the server writes them, whole and as they were when it began, and here they only pass through."""

import functools
import sys
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

import click
from click.core import ParameterSource

from epm.reporting.v1 import export_pb2, export_pb2_grpc, insights_pb2, reports_pb2
from epmctl.client import Client, logged_in
from epmctl.documents.files import whole_file
from epmctl.errors import CommandError
from epmctl.insights import PERIODS
from epmctl.output import output_as
from epmctl.reportlists import LIST_REPORTS
from epmctl.visible import visible_lines

Command = Callable[..., object]

FORMS: Final = {
    "csv": export_pb2.EXPORT_FORMAT_CSV,
    "jsonl": export_pb2.EXPORT_FORMAT_JSON_LINES,
    "parquet": export_pb2.EXPORT_FORMAT_PARQUET,
}

KINDS: Final = {
    "elevations": export_pb2.REPORT_KIND_ELEVATIONS,
    "managed": export_pb2.REPORT_KIND_ELEVATIONS,
    "denied": export_pb2.REPORT_KIND_ELEVATIONS,
    "applications": export_pb2.REPORT_KIND_APPLICATIONS,
    "publishers": export_pb2.REPORT_KIND_PUBLISHERS,
    "users": export_pb2.REPORT_KIND_USERS,
    "user-applications": export_pb2.REPORT_KIND_USER_APPLICATIONS,
    "trend": export_pb2.REPORT_KIND_TREND,
    "readiness": export_pb2.REPORT_KIND_READINESS,
    "obstacles": export_pb2.REPORT_KIND_OBSTACLES,
}
"""The reports that the server writes, by the names of their commands."""

SUBJECTS: Final = {
    "user": insights_pb2.READINESS_SUBJECT_USER,
    "device": insights_pb2.READINESS_SUBJECT_DEVICE,
}
STANDARD_OUTPUT: Final = Path("-")
_BAR: Final = 30


def request_of(
    report: str,
    form: str,
    asked: reports_pb2.ElevationFilter,
    *,
    order_by: str = "",
    period: str = "day",
    subject: str = "user",
) -> export_pb2.ExportReportRequest:
    """Ask for a report as a file; what a report does not know is passed over."""
    shown = LIST_REPORTS.get(report)
    return export_pb2.ExportReportRequest(
        report=KINDS[report],
        format=FORMS[form],
        filter=asked if shown is None else shown.narrow(asked),
        order_by=order_by,
        period=PERIODS[period],
        subject=SUBJECTS[subject],
    )


def file_output(report: str) -> Callable[[Command], Command]:
    """Give the command of a report the option `--output table|json|csv|parquet`; the last two it gets printed whole by the server."""

    def given(command: Command) -> Command:
        @functools.wraps(command)
        def printed(*, asked: reports_pb2.ElevationFilter, output: str, **others: object) -> object:
            if output not in FORMS:
                return command(asked=asked, output=output, **others)
            _only_whole(output, others)
            told = {name: str(others[name]) for name in ("order_by", "period", "subject") if others.get(name)}
            if KINDS[report] == export_pb2.REPORT_KIND_ELEVATIONS:
                told.setdefault("order_by", "occurred desc")  # as the list
            write_report(request_of(report, output, asked, **told), STANDARD_OUTPUT, report)
            return None

        return output_as("table", "json", "csv", "parquet")(printed)

    return given


def _only_whole(output: str, others: Mapping[str, object]) -> None:
    """Raise UsageError for options that a whole report has no use for."""
    if others.get("row") is not None:
        raise click.UsageError(f"--open goes with tables and JSON alone; leave --output {output} out")
    source = click.get_current_context().get_parameter_source("limit")
    if source not in (None, ParameterSource.DEFAULT) and others["limit"]:
        raise click.UsageError(f"--output {output} prints the whole report; leave --limit out")


def write_report(request: export_pb2.ExportReportRequest, place: Path, what: str) -> None:
    """Write a report to a file, which takes the place of the one there was once it is whole, or to standard output (`-`).

    Says on a terminal how far it is. Raises CommandError where the file cannot be written or the server fails.
    """
    with logged_in() as client, _opened(place, request.format) as out:
        progress = Progress(what, live=sys.stderr.isatty() and not (place == STANDARD_OUTPUT and sys.stdout.isatty()))
        for piece in _pieces(client, request):
            out.write(piece.data)
            progress.show(piece.written, piece.total)
        progress.end()


class Progress:
    """Say on a terminal how many entries were written, of how many if that is known, in a bar that is drawn over and over."""

    def __init__(self, what: str, *, live: bool) -> None:
        self._what = what
        self._live = live
        self._written = 0

    def show(self, written: int, total: int) -> None:
        """Say how far it is."""
        if self._live and written != self._written:
            click.echo(f"\r{_bar(written, total)}{written} {self._what}", nl=False, err=True)
        self._written = written

    def end(self) -> None:
        """Say that it is done."""
        if self._live:
            click.echo(f"\r{_bar(self._written, self._written)}{self._written} {self._what}", err=True)


def _bar(number: int, total: int) -> str:
    if not total:
        return ""
    done = min(_BAR * number // total, _BAR)
    return f"[{'#' * done}{'.' * (_BAR - done)}] "


def _pieces(client: Client, request: export_pb2.ExportReportRequest) -> Iterator[export_pb2.ExportReportResponse]:
    stub = export_pb2_grpc.ExportServiceStub(client.channel)
    return client.stream(stub.ExportReport, request, deadline=None)


class _Screen:
    """Take a file that is text, and show it: what devices sent moves no cursor."""

    def __init__(self) -> None:
        self._decode = getincrementaldecoder("utf-8")("replace").decode

    def write(self, data: bytes) -> object:
        """Show a piece; a character may be in two."""
        text = self._decode(data)
        click.echo(visible_lines(text), nl=False)
        return len(data)


@contextmanager
def _opened(place: Path, form: int) -> Iterator[BinaryIO | _Screen]:
    if place == STANDARD_OUTPUT:
        if form == export_pb2.EXPORT_FORMAT_PARQUET and sys.stdout.isatty():
            raise CommandError("Parquet is nothing for a terminal; let standard output go into a file")
        sys.stdout.flush()
        yield _Screen() if sys.stdout.isatty() else sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    try:
        with whole_file(place) as file:
            yield file.buffer
    except OSError as error:
        raise CommandError(f"{place} cannot be written: {error.strerror}; name another file") from None
