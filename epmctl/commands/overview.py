"""`epm report overview`: what an administrator looks at first, on one page."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, cast

import click
from google.protobuf.timestamp_pb2 import Timestamp

from epm.reporting.v1 import insights_pb2, reports_pb2
from epmctl.chart import Pen, gathered, room, share
from epmctl.client import logged_in
from epmctl.csvtext import print_csv
from epmctl.fitted import Fit, print_fitted
from epmctl.insights import PERIODS, insights_of, period_of, period_option
from epmctl.kinds.model import Column, at
from epmctl.output import Plain, Record, csv_output_option, print_json, whole_seconds
from epmctl.plain import to_plain
from epmctl.reportfilter import filter_options

_WIDEST: Final = 100
"""A page that is wider is no easier to read."""

_USUAL_DAYS: Final = 30
_SPLIT: Final = {"managedOnly": "managed alone: ready", "both": "both", "unmanagedOnly": "unmanaged alone"}
_TOPS: Final = {
    "frequentlyUnmanaged": "FREQUENTLY UNMANAGED",
    "frequentlyApproved": "FREQUENTLY APPROVED",
    "frequentlyDenied": "FREQUENTLY DENIED",
}
_APPLICATION: Final[Mapping[str, Column]] = {
    "COUNT": at("count"),
    "FILE": at("fileName"),
    "VERSION": at("version"),
    "PUBLISHER": at("publisher"),
    "ELEVATION TYPE": at("elevationType"),
}
_FIT: Final = Fit(spare=("ELEVATION TYPE", "VERSION"))


@click.command()
@filter_options
@click.option(
    "--top", type=click.IntRange(1, 100), default=5, show_default=True, help="How many applications of a kind."
)
@period_option
@csv_output_option
def overview(asked: reports_pb2.ElevationFilter, top: int, period: str, output: str) -> None:
    """Show on one page how attempts, users and devices stand; of the last 30 days without --since and --until."""
    if not asked.HasField("occurred_from") and not asked.HasField("occurred_before"):
        asked.occurred_from.CopyFrom(_usual_start(datetime.now(UTC)))
    with logged_in() as client:
        request = insights_pb2.GetOverviewRequest(filter=asked, top=top, period=PERIODS[period])
        answer = to_plain(client.call(insights_of(client).GetOverview, request))
    if output == "json":
        print_json(answer)
        return
    if output == "csv":
        print_csv(("part", "name", "count"), _rows(answer))
        return
    for line in _figures(answer, to_plain(asked)):
        click.echo(line)
    for name, heading in _TOPS.items():
        _print_top(heading, cast("Sequence[Record]", answer[name]))
    for line in _trend(cast("Sequence[Record]", answer["trend"]), period):
        click.echo(line)


def _usual_start(now: datetime) -> Timestamp:
    """Return the midnight in UTC that so many days, today among them, begin with: whole days are counted already."""
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    stamp = Timestamp()
    stamp.FromDatetime(today - timedelta(days=_USUAL_DAYS - 1))
    return stamp


def _figures(answer: Record, asked: Record) -> Iterator[str]:
    """Say how attempts, users and devices are split, each with a bar."""
    total, managed, unmanaged = (cast("int", answer[name]) for name in ("total", "managed", "unmanaged"))
    yield f"ATTEMPTS{_window(asked)}: {total:,}"
    yield from _bar([managed, unmanaged])
    yield from _shares({"managed": managed, "unmanaged": unmanaged})
    for subject in ("users", "devices"):
        split = dict.fromkeys(_SPLIT, 0) | cast("dict[str, int]", answer[subject] or {})
        yield ""
        yield f"{subject.upper()} with attempts: {sum(split.values()):,}"
        yield from _bar([split[name] for name in _SPLIT])
        yield from _shares({word: split[name] for name, word in _SPLIT.items()})


def _rows(answer: Record) -> Iterator[Sequence[Plain]]:
    """Give what the overview shows, a row a number."""
    yield from (("attempts", name, answer[name]) for name in ("total", "managed", "unmanaged"))
    for subject in ("users", "devices"):
        split = cast("Record", answer[subject] or {})
        yield from ((subject, name, split.get(name, 0)) for name in _SPLIT)
    for part in _TOPS:
        yield from ((part, top["fileName"], top["count"]) for top in cast("Sequence[Record]", answer[part]))
    yield from (("trend", point["start"], point["total"]) for point in cast("Sequence[Record]", answer["trend"]))


def _window(asked: Record) -> str:
    """Say since when and until when, as far as that was asked for."""
    ends = {"since": asked["occurredFrom"], "until": asked["occurredBefore"]}
    return "".join(f" {word} {_moment(cast('str', end))}" for word, end in ends.items() if end)


def _moment(time: str) -> str:
    """Say a time, and of midnight the day alone."""
    return whole_seconds(time).removesuffix("T00:00:00Z")


def _bar(parts: Sequence[int]) -> Iterator[str]:
    if total := sum(parts):
        yield Pen.for_output().bar(parts, total, _width())


def _shares(parts: Mapping[str, int]) -> Iterator[str]:
    """Write what a bar shows, in its order, with the character that stands for it."""
    total, fills = sum(parts.values()), Pen.for_output().fills[: len(parts)]
    words, counts = max(map(len, parts)), max(len(f"{part:,}") for part in parts.values())
    for fill, (word, part) in zip(fills, parts.items(), strict=True):
        yield f"  {fill} {word:<{words}}  {part:>{counts},}  {share(part, total):>5}"


def _print_top(heading: str, applications: Sequence[Record]) -> None:
    click.echo()
    click.echo(heading if applications else f"{heading}: none")
    if applications:
        print_fitted(_APPLICATION, applications, _FIT)


def _trend(points: Sequence[Record], period: str) -> Iterator[str]:
    """Draw the trend in one line, under what it reaches from and to."""
    if not points:
        return
    size, counts = gathered([cast("int", point["total"]) for point in points], _width())
    span = period if size == 1 else f"{size} {period}s"
    yield ""
    yield f"TREND {period_of(points[0], period)} to {period_of(points[-1], period)}"
    yield Pen.for_output().sparkline(counts)
    yield f"{min(counts):,} to {max(counts):,} a {span}"


def _width() -> int:
    return min(room(), _WIDEST)
