"""Readiness and obstacles worked out again the slow way, from a list of attempts."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from services.reporting.model.readiness import Application, Readiness


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
