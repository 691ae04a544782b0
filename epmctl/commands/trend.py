"""`epm report trend`: how many attempts there were day by day, or month by month."""

from collections.abc import Sequence
from typing import Final, cast

import click

from epm.reporting.v1 import insights_pb2, reports_pb2
from epmctl.chart import Pen, room
from epmctl.client import logged_in
from epmctl.insights import PERIODS, insights_of, period_of, period_option
from epmctl.output import Record, print_json
from epmctl.plain import to_plain
from epmctl.reportfile import file_output
from epmctl.reportfilter import filter_options

_COUNTS: Final = ("managed", "unmanaged", "total")
_NARROWEST_BAR: Final = 8
_GAP: Final = "  "


@click.command()
@filter_options
@period_option
@file_output("trend")
def trend(asked: reports_pb2.ElevationFilter, period: str, output: str) -> None:
    """Count attempts by day or month in UTC, the newest last."""
    with logged_in() as client:
        request = insights_pb2.GetTrendRequest(filter=asked, period=PERIODS[period])
        points = cast("Sequence[Record]", to_plain(client.call(insights_of(client).GetTrend, request))["points"])
    if output == "json":
        print_json(points)
        return
    for line in _lines(points, period):
        click.echo(line)


def _lines(points: Sequence[Record], period: str) -> Sequence[str]:
    """Draw a row for each period, with a bar where there is room for one."""
    rows = [(period.upper(), *(word.upper() for word in _COUNTS))]
    rows += [(period_of(point, period), *(str(point[word]) for word in _COUNTS)) for point in points]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [_GAP.join((row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:]))) for row in rows]
    left = room() - len(lines[0]) - len(_GAP)
    if left < _NARROWEST_BAR or not points:
        return lines
    pen, most = Pen.for_output(), max(_count(point, "total") for point in points)
    bars = [pen.bar([_count(point, "managed"), _count(point, "unmanaged")], most, left) for point in points]
    legend = f"{pen.fills[0]} managed, {pen.fills[1]} unmanaged"
    headed = [lines[0] + (_GAP + legend if len(legend) <= left else ""), *lines[1:]]
    return [(line + (_GAP + bar if bar else "")).rstrip() for line, bar in zip(headed, ["", *bars], strict=True)]


def _count(point: Record, word: str) -> int:
    return cast("int", point[word])
