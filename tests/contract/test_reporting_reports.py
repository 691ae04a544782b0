"""What reports answer: the same on SQLite and PostgreSQL."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from epm.elevation.v1 import event_pb2, rules_pb2
from services._chassis.db import Database
from services._chassis.errors import InvalidError, NotFoundError
from services._chassis.paging import Page
from services.reporting import usecases
from services.reporting.model.reports import ElevationFilter, Question, Tally
from services.reporting.store.devices import SqlDeviceRecords
from services.reporting.store.reports import SqlReports
from tests.builders.reporting_database import reporting_database
from tests.builders.sinks import DurableSink
from tests.fakes.clock import NOW
from tests.fakes.reporting import SHA256, batch, decided, enrolled, unmanaged

MINUTE = timedelta(minutes=1)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with reporting_database(database_url) as opened:
        yield opened


@pytest.fixture
def reports(database: Database) -> SqlReports:
    return SqlReports(database)


def question(tags: frozenset[str] | None = None, **values: Any) -> Question:
    return Question(ElevationFilter(**values), tags)


async def listed(reports: SqlReports, asked: Question | None = None, **values: Any) -> list[str]:
    page = await usecases.list_elevations(reports, asked or question(**values), page_size=0, page_token="")
    return [elevation.attempt_id for elevation in page.items]


async def test_the_newest_attempt_comes_first_whatever_came_in_first(reports: SqlReports, sink: DurableSink) -> None:
    await sink.store([batch([decided(1, at=NOW), decided(2, at=NOW - MINUTE), decided(3, at=NOW - 2 * MINUTE)])])
    await sink.store([batch([decided(4, at=NOW - MINUTE)], device="d2")])
    assert await listed(reports) == ["attempt-1", "attempt-4", "attempt-2", "attempt-3"]


async def test_pages_cover_every_attempt_once_while_new_ones_come_in(reports: SqlReports, sink: DurableSink) -> None:
    await sink.store([batch([decided(number, at=NOW) for number in range(1, 8)])])
    seen, token = [], ""
    for round_ in range(20):
        page = await usecases.list_elevations(reports, question(), page_size=2, page_token=token)
        seen += [elevation.attempt_id for elevation in page.items]
        await sink.store([batch([decided(100 + round_, at=NOW + MINUTE)], device=f"new-{round_}")])
        if not (token := page.next_token):
            break
    assert seen == [f"attempt-{number}" for number in range(7, 0, -1)]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"occurred_from": NOW}, [1, 2]),
        ({"occurred_before": NOW}, [3, 4]),
        ({"elevation_types": ("AUTOMATIC", "")}, [2, 4]),
        ({"results": ("DENIED",)}, [3]),
        ({"managed": False}, [4]),
        ({"managed": True}, [1, 2, 3]),
        ({"users": ("bob", "carol")}, [2, 3]),
        ({"devices": ("name-of-d2",)}, [3]),
        ({"governed_by_rule": True}, [2, 3]),
        ({"users": ("bob",), "managed": True}, [2]),
        ({"users": ("nobody",)}, []),
        ({"policies": ("tools", "none")}, [1, 2]),
        ({"policies": ("",)}, [4]),
        ({"rules": ("never",)}, [3]),
        ({"policies": ("tools",), "rules": ("never",)}, []),
        ({"publishers": ("CN=Example",)}, [3]),
        ({"publishers": ("Example",)}, [1, 2, 4]),
        ({"sha256s": (SHA256, "")}, [1, 2, 4]),
        ({"file_names": ("other.exe",)}, [3]),
        ({"file_names": ("Other.exe",)}, []),
        ({"sources": ("DEFAULT_RESPONSE", "ADMINISTRATOR")}, [1, 4]),
    ],
)
async def test_each_filter_narrows(
    reports: SqlReports, sink: DurableSink, values: dict[str, Any], expected: list[int]
) -> None:
    default = decided(
        1,
        at=NOW + MINUTE,
        source=event_pb2.SOURCE_DEFAULT_RESPONSE,
        elevation_type=rules_pb2.ELEVATION_TYPE_USER_CONFIRMED,
    )
    denied = decided(
        3,
        at=NOW - MINUTE,
        user="carol",
        outcome=event_pb2.OUTCOME_DENY,
        elevation_type=rules_pb2.ELEVATION_TYPE_DENY,
        result=event_pb2.ATTEMPT_RESULT_DENIED,
        policy="forbidden",
        rule="never",
        file={"path": "C:\\other.exe", "sha256": "cd" * 32, "publisher": "CN=Example"},
    )
    await sink.store([batch([default, decided(2, user="bob")]), batch([denied], device="d2")])
    await sink.store([batch([unmanaged(4, at=NOW - 2 * MINUTE)], device="d3")])
    assert await listed(reports, **values) == [f"attempt-{number}" for number in expected]


async def test_what_a_device_said_comes_back_whole(reports: SqlReports, sink: DurableSink) -> None:
    told = decided(1, arguments=["/silent", "ünïcode"], justification="needed for work", losers=[])
    told.boot_id = "boot-7"
    await sink.store([batch([told])])
    found = await usecases.get_elevation(reports, "attempt-1", None)
    assert event_pb2.ElevationEvent.FromString(found.body) == told


async def test_only_attempts_of_visible_devices_are_listed_counted_and_returned(
    reports: SqlReports, sink: DurableSink, database: Database
) -> None:
    await SqlDeviceRecords(database).remember([enrolled("d1", "emea", "vip"), enrolled("d2", "apac"), enrolled("d3")])
    await sink.store([batch([decided(number)], device=f"d{number}") for number in (1, 2, 3, 4)])
    for tags, visible in {"emea": [1], "apac": [2], "default": [3], "other": []}.items():
        asked = question(frozenset({tags}))
        assert await listed(reports, asked) == [f"attempt-{number}" for number in visible]
        assert (await usecases.summarize(reports, asked)).total == len(visible)
    assert await listed(reports, question(frozenset({"emea", "vip", "apac"}))) == ["attempt-2", "attempt-1"]
    with pytest.raises(NotFoundError):
        await usecases.get_elevation(reports, "attempt-1", frozenset({"apac"}))


async def test_visibility_follows_the_tags_of_today_and_outlives_the_device(
    reports: SqlReports, sink: DurableSink, database: Database
) -> None:
    records = SqlDeviceRecords(database)
    await records.remember([enrolled("d1", "emea"), enrolled("d2", "emea")])
    await sink.store([batch([decided(1)])])
    await records.remember([enrolled("d1", "apac")])
    await records.remember([])
    assert await listed(reports, question(frozenset({"emea"}))) == []
    assert await listed(reports, question(frozenset({"apac"}))) == ["attempt-1"]


async def test_managed_and_unmanaged_are_the_total(reports: SqlReports, sink: DurableSink) -> None:
    denied = decided(3, outcome=event_pb2.OUTCOME_DENY, result=event_pb2.ATTEMPT_RESULT_DENIED)
    await sink.store([batch([decided(1), decided(2), denied, unmanaged(4)])])
    summary = await usecases.summarize(reports, question())
    assert (summary.total, summary.managed, summary.unmanaged) == (4, 3, 1)
    assert summary.results == (Tally("DENIED", 1), Tally("ELEVATED", 2), Tally("NOT_MANAGED", 1))
    assert summary.elevation_types == (Tally("", 1), Tally("AUTOMATIC", 3))


async def test_a_report_on_nothing_counts_nothing(reports: SqlReports) -> None:
    summary = await usecases.summarize(reports, question())
    assert (summary.total, summary.results) == (0, ())
    assert (await usecases.list_users(reports, question(), page_size=0, page_token="")).items == ()


async def pages(ask: Callable[..., Awaitable[Page[Any]]]) -> list[Any]:
    """Return everything that a list has, page by page."""
    found: list[Any] = []
    token = ""
    while True:
        page = await ask(page_token=token)
        found += page.items
        if not (token := page.next_token):
            return found


async def test_users_are_counted_most_first_and_page_by_page(reports: SqlReports, sink: DurableSink) -> None:
    events = [decided(1, user="bob"), decided(2, user="Bob"), decided(3, user="alice"), unmanaged(4, user="alice")]
    await sink.store([batch([*events, decided(5, user="carol"), unmanaged(6, user="dave")])])
    found = await pages(partial(usecases.list_users, reports, question(), page_size=2))
    told = [(count.user, count.managed, count.unmanaged, count.total) for count in found]
    assert told == [("alice", 1, 1, 2), ("Bob", 1, 0, 1), ("bob", 1, 0, 1), ("carol", 1, 0, 1), ("dave", 0, 1, 1)]


async def test_applications_are_counted_by_what_they_are_and_how_they_were_elevated(
    reports: SqlReports, sink: DurableSink
) -> None:
    other = {"path": "C:/Tools/other.exe", "company_name": ""}
    await sink.store([batch([decided(1), decided(2), unmanaged(3), decided(4, file=other)])])
    found = await pages(partial(usecases.list_applications, reports, question(), page_size=1))
    told = [(one.file_name, one.version, one.sha256, one.elevation_type, one.count) for one in found]
    assert told == [
        ("setup.exe", "1.2", SHA256, "AUTOMATIC", 2),
        ("other.exe", "1.2", SHA256, "AUTOMATIC", 1),
        ("setup.exe", "1.2", SHA256, "", 1),
    ]


async def test_a_publisher_is_the_signer_or_else_the_company(reports: SqlReports, sink: DurableSink) -> None:
    signed, bare = {"publisher": "CN=Example Ltd"}, {"company_name": ""}
    await sink.store([batch([decided(1, file=signed), decided(2, file=signed), decided(3), decided(4, file=bare)])])
    found = await pages(partial(usecases.list_publishers, reports, question(), page_size=1))
    told = [(one.publisher, one.elevation_type, one.count) for one in found]
    assert told == [("CN=Example Ltd", "AUTOMATIC", 2), ("", "AUTOMATIC", 1), ("Example", "AUTOMATIC", 1)]


@pytest.mark.parametrize("name", ["applications", "publishers", "users"])
async def test_a_walk_over_counts_leaves_nothing_out_while_attempts_come_in(
    reports: SqlReports, sink: DurableSink, name: str
) -> None:
    ask = getattr(usecases, f"list_{name}")

    def made_by(letter: str, number: int) -> event_pb2.ElevationEvent:
        return decided(number, user=letter, file={"path": f"C:/{letter}.exe", "publisher": letter})

    letters = ["a", "a", "a", "b", "b", "c", "d"]
    await sink.store([batch([made_by(letter, number) for number, letter in enumerate(letters, 1)])])
    found, token = [], ""
    for round_ in range(10):
        page = await ask(reports, question(), page_size=1, page_token=token)
        found += page.items
        late = [made_by("d", 100 * (round_ + 1) + number) for number in range(5)]
        await sink.store([batch(late, device=f"new-{round_}", received=NOW + MINUTE)])
        if not (token := page.next_token):
            break
    assert [getattr(one, "count", None) or one.total for one in found] == [3, 2, 1, 1]


async def test_a_page_token_belongs_to_its_list_and_filter(reports: SqlReports, sink: DurableSink) -> None:
    await sink.store([batch([decided(1), decided(2)])])
    page = await usecases.list_elevations(reports, question(), page_size=1, page_token="")
    for asked in (question(managed=True), question(users=("alice",))):
        with pytest.raises(InvalidError, match="page_token"):
            await usecases.list_elevations(reports, asked, page_size=1, page_token=page.next_token)
    with pytest.raises(InvalidError, match="page_token"):
        await usecases.list_users(reports, question(), page_size=1, page_token=page.next_token)
