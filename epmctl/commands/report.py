"""`epm report`: what was elevated, by whom, on which device, and under which rule."""

from collections.abc import Iterator, Sequence
from typing import Final, cast

import click

from epm.reporting.v1 import reports_pb2
from epmctl.client import logged_in
from epmctl.commands.consumers import consumers
from epmctl.commands.deadletters import dead_letters
from epmctl.commands.diagnostics import diagnostics
from epmctl.commands.gaps import gaps
from epmctl.commands.overview import overview
from epmctl.commands.readiness import obstacles, readiness
from epmctl.commands.reportexport import export
from epmctl.commands.tail import tail
from epmctl.commands.trend import trend
from epmctl.commands.userapplications import user_applications
from epmctl.csvtext import print_csv
from epmctl.grouping import CommandGroup
from epmctl.limits import limit_option, to_ask
from epmctl.output import Plain, Record, csv_output_option, print_json, print_table
from epmctl.plain import to_plain
from epmctl.reportfile import file_output
from epmctl.reportfilter import filter_options
from epmctl.reportlists import LIST_REPORTS, ListReport, entries, may_open, reports_of, show_list
from epmctl.reportopen import open_option, opened
from epmctl.reportorder import in_order, order_option


@click.group(cls=CommandGroup)
def report() -> None:
    """Show what was elevated, by whom, and under which rule."""


report.add_command(overview)
report.add_command(trend)
report.add_command(user_applications)
report.add_command(readiness)
report.add_command(obstacles)
report.add_command(tail)
report.add_command(export)
for _command in (consumers, dead_letters, diagnostics, gaps):
    report.add_command(_command)


@report.command()
@filter_options
@csv_output_option
def summary(asked: reports_pb2.ElevationFilter, output: str) -> None:
    """Count attempts: managed and unmanaged, by result and by elevation type."""
    with logged_in() as client:
        request = reports_pb2.SummarizeElevationsRequest(filter=asked)
        answer = to_plain(client.call(reports_of(client).SummarizeElevations, request))
    if output == "json":
        print_json(answer)
        return
    if output == "csv":
        print_csv(("by", "value", "count"), _figures(answer))
        return
    print_table(("ATTEMPTS", "COUNT"), [(name, answer[name]) for name in ("total", "managed", "unmanaged")])
    for heading, counts, word in _BREAKDOWNS:
        click.echo()
        rows = cast("Sequence[Record]", answer[counts])
        print_table((heading, "COUNT"), [(row[word], row["count"]) for row in rows])


def _figures(answer: Record) -> Iterator[Sequence[Plain]]:
    """Give what a summary counts, a row a number."""
    yield from (("attempts", name, answer[name]) for name in ("total", "managed", "unmanaged"))
    for _, counts, word in _BREAKDOWNS:
        yield from ((word, row[word], row["count"]) for row in cast("Sequence[Record]", answer[counts]))


def _list_report(name: str, shown: ListReport) -> None:
    """Add the command for a report that is a list."""

    def command(
        asked: reports_pb2.ElevationFilter, *, order_by: str = "", row: int | None = None, limit: int, output: str
    ) -> None:
        wanted = in_order(shown, order_by)
        with logged_in() as client:
            listed = wanted if row is None else opened(client, wanted, asked, row)
            found = list(entries(client, listed, asked, to_ask(limit)))
        show_list(listed, found, limit, output)

    optional = file_output(name)(limit_option(command))
    if may_open(shown):
        optional = open_option(optional)
    report.command(name=name, help=shown.help)(filter_options(order_option(shown)(optional)))


_BREAKDOWNS: Final = (("RESULT", "results", "result"), ("ELEVATION TYPE", "elevationTypes", "elevationType"))

for _name, _shown in LIST_REPORTS.items():
    _list_report(_name, _shown)
