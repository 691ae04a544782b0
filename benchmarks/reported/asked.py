"""What is asked of the past: every report that counts, over several spans of time, and filtered lists of attempts."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from services._chassis.db import Database
from services._chassis.paging import PageRequest
from services.reporting.model.events import datetime_of
from services.reporting.model.insights import Period
from services.reporting.model.readiness import ReadinessQuestion, Subject
from services.reporting.model.reports import ElevationFilter, Question
from services.reporting.model.rollups import DAY
from services.reporting.store.insights import SqlInsights
from services.reporting.store.readiness import SqlReadiness
from services.reporting.store.reports import SqlReports

CALLERS: Mapping[str, frozenset[str] | None] = {
    "everything": None,
    "a tenth": frozenset({"emea"}),
    "nine tenths": frozenset({"apac"}),
}
LISTED = ("everything", "a tenth")
"""Those who ask for lists."""
WINDOWS: Mapping[str, int | None] = {"all": None, "30 days": 30, "7 days": 7}
PAGE = PageRequest(50)
USER, RARE_TOOL = "user-17@example.com", f"{1313:064x}"
LISTS: Mapping[str, dict[str, Any]] = {
    "nothing": {},
    "user": {"users": (USER,)},
    "device": {"devices": ("name-3",)},
    "hash, common": {"sha256s": (f"{1:064x}",)},
    "hash, rare": {"sha256s": (RARE_TOOL,)},
    "file": {"file_names": ("tool-77.exe",)},
    "publisher": {"publishers": ("CN=Publisher 7",)},
    "policy": {"policies": ("policy-1",)},
    "rule": {"rules": ("rule-133",)},
    "result": {"results": ("DENIED",)},
    "result, rare": {"results": ("REFUSED",)},
    "type": {"elevation_types": ("SUPPORT_APPROVED",)},
    "source": {"sources": ("GRANT",)},
    "unmanaged": {"managed": False},
    "managed": {"managed": True},
    "publisher, rule": {"publishers": ("CN=Publisher 7",), "rules": ("rule-133",)},
    "publisher, rare result": {"publishers": ("CN=Publisher 1",), "results": ("REFUSED",)},
    "user, hash": {"users": (USER,), "sha256s": (f"{1:064x}",)},
    "user, result": {"users": (USER,), "results": ("DENIED",)},
    "device, rare hash": {"devices": ("name-3",), "sha256s": (RARE_TOOL,)},
    "device, publisher": {"devices": ("name-3",), "publishers": ("CN=Publisher 7",)},
    "100 users, rare result": {"users": tuple(f"user-{n}@example.com" for n in range(100)), "results": ("REFUSED",)},
}
"""Filters; those of two things find few attempts, or none."""

Ask = Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Asked:
    """One question: what it is called, and how to ask it."""

    seen: str
    window: str
    report: str
    ask: Ask


def reports(database: Database, last: int) -> Iterator[Asked]:
    """Yield every report that counts, for every caller and span of whole days, up to the last one."""
    for seen, tags in CALLERS.items():
        for window, days in WINDOWS.items():
            start = None if days is None else datetime_of((last + 1 - days) * DAY)
            for report, ask in _ways(database, Question(ElevationFilter(occurred_from=start), tags)):
                yield Asked(seen, window, report, ask)


def _ways(database: Database, question: Question) -> Iterator[tuple[str, Ask]]:
    asked, insights, readiness = SqlReports(database), SqlInsights(database), SqlReadiness(database)
    yield "summary", lambda: asked.summary(question)
    yield "applications", lambda: asked.applications(question, PAGE)
    yield "publishers", lambda: asked.publishers(question, PAGE)
    yield "users", lambda: asked.users(question, PAGE)
    yield "tiles", lambda: insights.tiles(question, 5)
    yield "trend", lambda: insights.fates(question)
    yield "by user, day", lambda: insights.user_applications(question, Period.DAY, PAGE)
    yield "by user, month", lambda: insights.user_applications(question, Period.MONTH, PAGE)
    yield "readiness", lambda: readiness.readiness(ReadinessQuestion(question, Subject.USER), PAGE)
    yield "obstacles", lambda: readiness.obstacles(question, PAGE)


def lists(database: Database) -> Iterator[Asked]:
    """Yield the first pages of filtered lists of attempts."""
    asked = SqlReports(database)
    for seen in LISTED:
        for name, values in LISTS.items():
            question = Question(ElevationFilter(**values), CALLERS[seen])
            yield Asked(seen, "all", name, lambda question=question: asked.elevations(question, PAGE))  # type: ignore[misc]
