"""Walk over all entries of a report, a piece at a time; what the caller may see is looked up again for every piece."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol, TypeVar, cast

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from epm.elevation.v1 import event_pb2
from epm.reporting.v1 import reports_pb2
from services._chassis.errors import Problem
from services._chassis.ordering import Order as Sorted
from services._chassis.ordering import read_order
from services._chassis.paging import LARGEST_SIZE, Page
from services.reporting import usecases
from services.reporting.codec import answers
from services.reporting.model.reports import ORDERS, Question
from services.reporting.ports import Reports
from services.reporting.reportexport.fields import Field, fields_of
from services.reporting.reportexport.parts import Part, parts_of, raw_of
from services.reporting.store.snapshots import SHOWN, AttemptRow, SqlSnapshots

Tags = Callable[[], frozenset[str] | None]
"""Returns what the caller may see now. Raises DeniedError once that is nothing."""

AT_A_TIME = 1000
"""Attempts that are taken apart at a time: with many more the collector of garbage takes a quarter of the time."""

Entry = TypeVar("Entry")
EntryTold = TypeVar("EntryTold")


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is asked for."""

    report: str
    form: str
    question: Question
    tags: Tags
    order_by: str = ""
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


Ask = Callable[[Order, str], Awaitable[Page[Entry]]]
"""Asks for a page of a list."""


def attempts_walk(snapshots: SqlSnapshots) -> Walk:
    """Walk over attempts as they were when the walk began, oldest first unless the order says otherwise."""
    fields = fields_of(reports_pb2.Elevation.DESCRIPTOR)

    async def pieces(order: Order) -> AsyncGenerator[Piece, None]:
        newest_first = _newest_first(order)
        snapshot = await snapshots.begin(order.now())
        yield Piece(partial(_of_attempts, fields, ()), snapshot.total)
        after: AttemptRow | None = None
        while found := await snapshots.page(order.now(), snapshot, after, newest_first=newest_first):
            after = found[-1]
            for start in range(0, len(found), AT_A_TIME):
                yield Piece(partial(_of_attempts, fields, found[start : start + AT_A_TIME]), snapshot.total)

    return Walk(fields, pieces, ORDERS["elevations"])


def list_walk(
    entry: Descriptor, ask: Ask[Entry], encode: Callable[[Entry], Message], orders: tuple[str, ...] = ()
) -> Walk:
    """Walk over the pages of a list."""
    fields = fields_of(entry)

    async def pieces(order: Order) -> AsyncGenerator[Piece, None]:
        token = ""
        while True:
            page = await ask(order, token)
            yield Piece(partial(_of_messages, fields, list(map(encode, page.items))))
            if not (token := page.next_token):
                return

    return Walk(fields, pieces, orders)


def walks_of(reports: Reports, snapshots: SqlSnapshots) -> Mapping[str, Walk]:
    """Return the walk over each report, by the word of its kind."""
    applications, publishers, users = (
        partial(_page, verb, reports)
        for verb in (usecases.list_applications, usecases.list_publishers, usecases.list_users)
    )
    counts = reports_pb2
    return {
        "ELEVATIONS": attempts_walk(snapshots),
        "APPLICATIONS": list_walk(
            counts.ApplicationCount.DESCRIPTOR, applications, answers.application_to_proto, ORDERS["applications"]
        ),
        "PUBLISHERS": list_walk(
            counts.PublisherCount.DESCRIPTOR, publishers, answers.publisher_to_proto, ORDERS["publishers"]
        ),
        "USERS": list_walk(counts.UserCount.DESCRIPTOR, users, answers.user_to_proto, ORDERS["users"]),
    }


class _Verb(Protocol[EntryTold]):
    def __call__(
        self, reports: Reports, question: Question, *, page_size: int, page_token: str, order_by: str
    ) -> Awaitable[Page[EntryTold]]: ...


def _page(verb: _Verb[Entry], reports: Reports, order: Order, token: str) -> Awaitable[Page[Entry]]:
    """Ask for a page as large as there are."""
    return verb(reports, order.now(), page_size=LARGEST_SIZE, page_token=token, order_by=order.order_by)


def _newest_first(order: Order) -> bool:
    asked = read_order(order.order_by, ORDERS["elevations"])
    return isinstance(asked, Sorted) and asked.descending


def _of_messages(fields: Sequence[Field], messages: Sequence[Message]) -> tuple[Part, ...]:
    return parts_of(fields, raw_of(fields, messages))


def _of_attempts(fields: Sequence[Field], rows: Sequence[AttemptRow]) -> tuple[Part, ...]:
    values = zip(*rows, strict=True) if rows else [()] * len(SHOWN)
    raw = dict(zip(SHOWN, values, strict=True))
    bodies = cast("Sequence[bytes]", raw["body"])
    events = map(event_pb2.ElevationEvent.FromString, bodies)
    return parts_of(fields, {**raw, "decided": [event.decided for event in events]})
