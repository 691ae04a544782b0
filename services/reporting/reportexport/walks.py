"""Walk over all entries of a report, a piece at a time; what the caller may see is looked up again for every piece."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from itertools import accumulate

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from epm.reporting.v1 import reports_pb2
from services._chassis.errors import Problem
from services._chassis.ordering import Order as Sorted
from services._chassis.ordering import read_order
from services.reporting.model.events import microseconds
from services.reporting.model.insights import LARGEST_TREND, Fate, Period, TrendPoint, trend
from services.reporting.model.readiness import Subject
from services.reporting.model.reports import ORDERS, Question
from services.reporting.ports import Insights
from services.reporting.reportexport.ahead import ahead
from services.reporting.reportexport.decided import decided_part
from services.reporting.reportexport.fields import Field, Kind, Words, fields_of
from services.reporting.reportexport.parts import Part, part_of, parts_of, raw_of
from services.reporting.store.snapshots import Attempts, Snapshot, SqlSnapshots

Tags = Callable[[], frozenset[str] | None]
"""Returns what the caller may see now. Raises DeniedError once that is nothing."""

AT_A_TIME = 4000
"""Attempts that are taken apart at a time: with many more the collector of garbage takes a quarter of the time."""

HEAVIEST = 1024 * 1024
"""Bytes of the events of them, or one event: what is in one takes fifty times as much once it is taken apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is asked for."""

    report: str
    form: str
    question: Question
    tags: Tags
    order_by: str = ""
    period: Period = Period.DAY
    subject: Subject = Subject.USER
    problems: Sequence[Problem] = ()
    """What is wrong with the call beside the filter and the order of the entries."""

    def now(self) -> Question:
        """Return the question with what the caller may see now."""
        return replace(self.question, tags=self.tags())


@dataclass(frozen=True, slots=True)
class Piece:
    """Some entries as they were read."""

    read: Callable[[], tuple[Part, ...]]
    """Reads their fields, which takes a while."""
    total: int = 0
    """Entries that there will be in the end; 0 where that is not known."""


@dataclass(frozen=True, slots=True)
class Walk:
    """How to walk over one report: the fields of its entries, and what gives them."""

    fields: tuple[Field, ...]
    pieces: Callable[[Order], AsyncGenerator[Piece, None]]
    orders: tuple[str, ...] = ()
    """What the entries may be ordered by."""


Ask = Callable[[Order, str], Awaitable[tuple[Sequence[Message], str]]]
"""Asks for a page of a list; returns its entries and the token of the next."""


def attempts_walk(snapshots: SqlSnapshots) -> Walk:
    """Walk over attempts as they were when the walk began, oldest first unless the order says otherwise."""
    fields = fields_of(reports_pb2.Elevation.DESCRIPTOR)

    async def pages(order: Order, snapshot: Snapshot) -> AsyncGenerator[Attempts, None]:
        newest_first, after = _newest_first(order), None
        while found := await snapshots.page(order.now(), snapshot, after, newest_first=newest_first):
            after = found
            yield found

    async def pieces(order: Order) -> AsyncGenerator[Piece, None]:
        snapshot = await snapshots.begin(order.now())
        yield Piece(partial(_of_attempts, fields, Attempts()), snapshot.total)
        async with aclosing(pages(order, snapshot)) as found, aclosing(ahead(found)) as read:
            async for page in read:
                for few in _portions(page):
                    yield Piece(partial(_of_attempts, fields, few), snapshot.total)

    return Walk(fields, pieces, ORDERS["elevations"])


def list_walk(entry: Descriptor, ask: Ask, orders: tuple[str, ...] = ()) -> Walk:
    """Walk over the pages of a list."""
    fields = fields_of(entry)

    async def pieces(order: Order) -> AsyncGenerator[Piece, None]:
        token = ""
        while True:
            entries, token = await ask(order, token)
            yield Piece(partial(_of_messages, fields, entries))
            if not token:
                return

    return Walk(fields, pieces, orders)


def trend_walk(insights: Insights, now: Callable[[], datetime]) -> Walk:
    """Walk over a trend: a row a period and elevation type, and one of zeros for a period without attempts."""
    start = Field(name="start", json="start", kind=Kind.TIME, words=Words())
    word = Field(name="elevation_type", json="elevationType", kind=Kind.WORD, words=Words({"": None}))
    counts = [Field(name=name, json=name, kind=Kind.COUNT, words=Words()) for name in ("managed", "unmanaged", "total")]
    fields = (start, word, *counts)

    async def pieces(order: Order) -> AsyncGenerator[Piece, None]:
        fates = await insights.fates(order.now())
        rows = list(_trend_rows(fates, order, now()))
        values = zip(*rows, strict=True) if rows else [()] * len(fields)
        raw = dict(zip((field.name for field in fields), values, strict=True))
        yield Piece(partial(parts_of, fields, raw), len(rows))

    return Walk(fields, pieces)


def _trend_rows(fates: Sequence[Fate], order: Order, now: datetime) -> Iterator[tuple[int, str, int, int, int]]:
    draw = partial(trend, period=order.period, asked=order.question.filter, now=now, most=LARGEST_TREND)
    managed = draw([fate for fate in fates if fate.managed])
    by_start = {point.start: _by_type(point) for point in managed}
    for point in draw(fates):
        start = microseconds(point.start)
        counted = by_start.get(point.start, {})
        for word, total in (_by_type(point) or {"": 0}).items():
            yield start, word, counted.get(word, 0), total - counted.get(word, 0), total


def _by_type(point: TrendPoint) -> dict[str, int]:
    return {tally.word: tally.count for tally in point.counts.elevation_types}


def _newest_first(order: Order) -> bool:
    asked = read_order(order.order_by, ORDERS["elevations"])
    return isinstance(asked, Sorted) and asked.descending


def _portions(page: Attempts) -> Iterator[Attempts]:
    weights, start = list(map(len, page.body)), 0
    while start < len(weights):
        few = weights[start : start + AT_A_TIME]
        end = start + len(few)
        if sum(few) > HEAVIEST:
            # At least one, however heavy.
            end = start + max(1, sum(weight <= HEAVIEST for weight in accumulate(few)))
        yield page.part(start, end)
        start = end


def _of_messages(fields: Sequence[Field], messages: Sequence[Message]) -> tuple[Part, ...]:
    return parts_of(fields, raw_of(fields, messages))


def _of_attempts(fields: Sequence[Field], few: Attempts) -> tuple[Part, ...]:
    return tuple(
        decided_part(field, few.body) if field.name == "decided" else part_of(field, getattr(few, field.name))
        for field in fields
    )
