"""Attempts on which readiness is judged, and readiness and obstacles worked out again the slow way."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st

from epm.elevation.v1 import event_pb2
from services.reporting.model.readiness import (
    Application,
    Obstacle,
    Readiness,
    ReadinessEntry,
    ReadinessQuestion,
    Split,
)
from services.reporting.model.reports import ElevationFilter, Question
from services.reporting.readiness import list_obstacles, list_readiness
from services.reporting.store.readiness import SqlReadiness
from tests.builders.counts import MIDNIGHT
from tests.builders.sinks import DurableSink
from tests.fakes.reporting import SHA256, batch, decided, unmanaged

DAY = timedelta(days=1)
SOME_OF_ALL: dict[str, Any] = {"occurred_from": MIDNIGHT - 100 * DAY, "occurred_before": MIDNIGHT + 100 * DAY}

WINDOWS: Sequence[dict[str, Any]] = (
    {},
    SOME_OF_ALL,
    {"occurred_from": MIDNIGHT - 100 * DAY + timedelta(seconds=1)},
)
"""Answered from counts, and from events; the same either way."""


@dataclass(frozen=True, slots=True)
class Made:
    """One attempt, as far as readiness goes."""

    user: str
    device: str
    application: Application
    managed: bool
    administrator: bool = False


@dataclass(frozen=True, slots=True)
class Judged:
    """What is to be said of a user or a device."""

    verdict: Readiness
    managed: int
    unmanaged: int
    administrator: bool
    obstacles: tuple[tuple[Application, int], ...]
    """All of them, most attempts first."""


@dataclass(frozen=True, slots=True)
class InTheWay:
    """What is to be said of an application."""

    application: Application
    count: int
    users: int
    devices: int
    users_freed: int


def question(tags: frozenset[str] | None = None, **values: Any) -> Question:
    return Question(ElevationFilter(**values), tags)


def application(name: str) -> Application:
    return Application(f"{name}.exe", "", "1.2", "Example", SHA256, "Example")


def event(number: int, made: Made, *, days: int = 0) -> event_pb2.ElevationEvent:
    """Return the event of an attempt, some days after midnight of the first day."""
    values: dict[str, Any] = {
        "user": made.user,
        "at": MIDNIGHT + days * DAY + timedelta(hours=number % 24),
        "file": {"path": f"C:\\Tools\\{made.application.file_name}"},
    }
    if made.managed:
        return decided(number, administrator=made.administrator, **values)
    values |= {"administrator": made.administrator}
    if not made.administrator:
        values |= {"source": event_pb2.SOURCE_NO_RULE}
    return unmanaged(number, **values)


class Story:
    """Store attempts, each on its device and in the place of its own."""

    def __init__(self, sink: DurableSink) -> None:
        self._sink = sink
        self._number = 0
        self.made: list[Made] = []

    async def tell(self, *attempts: Made, days: int = 0) -> None:
        for made in attempts:
            self._number += 1
            told = event(self._number, made, days=days)
            await self._sink.store([batch([told], device=made.device, journal=f"j-{self._number}")])
        self.made += attempts


def made(user: str, app: str, *, managed: bool = False, device: str = "", administrator: bool = False) -> Made:
    return Made(user, device or f"pc-of-{user}", application(app), managed, administrator)


def attempts_on(*days: int) -> st.SearchStrategy[list[tuple[Made, int]]]:
    """Draw attempts of few users, applications and devices, each on one of these days."""
    drawn = st.builds(
        made,
        st.sampled_from(["alice", "bob", "Bob", "Ünal"]),
        st.sampled_from(["a", "b", "ä"]),
        managed=st.booleans(),
        device=st.sampled_from(["d1", "d2", "d3"]),
        administrator=st.booleans(),
    )
    return st.lists(st.tuples(drawn, st.sampled_from(days)), max_size=25)


async def entries(
    readiness: SqlReadiness, asked: ReadinessQuestion, *, size: int = 0
) -> tuple[list[ReadinessEntry], Split]:
    """Return all entries, page by page."""
    found: list[ReadinessEntry] = []
    token = ""
    while True:
        page = await list_readiness(readiness, asked, page_size=size, page_token=token)
        found += page.page.items
        if not (token := page.page.next_token):
            return found, page.split


async def obstacles(readiness: SqlReadiness, asked: Question, *, size: int = 0) -> list[Obstacle]:
    """Return all obstacles, page by page."""
    found: list[Obstacle] = []
    token = ""
    while True:
        page = await list_obstacles(readiness, asked, page_size=size, page_token=token)
        found += page.items
        if not (token := page.next_token):
            return found


def judged(attempts: Iterable[Made], *, by_device: bool = False) -> dict[str, Judged]:
    """Judge everyone in the order of the report."""
    of: defaultdict[str, list[Made]] = defaultdict(list)
    for one in attempts:
        of[one.device if by_device else one.user].append(one)
    found = {key: _judge(mine) for key, mine in of.items()}
    return dict(sorted(found.items(), key=lambda item: (item[1].unmanaged, -item[1].managed, item[0])))


def in_the_way(attempts: Iterable[Made]) -> list[InTheWay]:
    """Return the applications in the order of the report: by whom each would free if it alone were managed."""
    made = list(attempts)
    unmanaged = [one for one in made if not one.managed]
    found = []
    for application in {one.application for one in unmanaged}:
        these = [one for one in unmanaged if one.application == application]
        rest = {one.user for one in unmanaged if one.application != application}
        users = {one.user for one in these}
        devices = {one.device for one in these}
        found.append(InTheWay(application, len(these), len(users), len(devices), len(users - rest)))
    return sorted(found, key=lambda one: (-one.users_freed, -one.users, one.application))


def _judge(mine: list[Made]) -> Judged:
    managed = sum(one.managed for one in mine)
    obstacles = Counter(one.application for one in mine if not one.managed)
    unmanaged = obstacles.total()
    verdict = Readiness.READY if not unmanaged else Readiness.PARTLY if managed else Readiness.UNMANAGED
    ordered = sorted(obstacles.items(), key=lambda item: (-item[1], item[0]))
    return Judged(verdict, managed, unmanaged, any(one.administrator for one in mine), tuple(ordered))
