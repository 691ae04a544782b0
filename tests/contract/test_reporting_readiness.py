"""Who could do without administrator rights, and what is in the way: the same on SQLite and PostgreSQL."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from epm.elevation.v1 import event_pb2
from services._chassis.db import Database
from services._chassis.errors import InvalidError
from services._chassis.paging import PageRequest
from services.reporting.model.readiness import (
    Readiness,
    ReadinessEntry,
    ReadinessQuestion,
    Split,
    Subject,
)
from services.reporting.readiness import list_obstacles, list_readiness
from services.reporting.store.devices import SqlDeviceRecords
from services.reporting.store.newest import Few
from services.reporting.store.obstacles import obstacles_page
from services.reporting.store.readiness import SqlReadiness
from tests.builders.counts import MIDNIGHT
from tests.builders.readiness import (
    DAY,
    SOME_OF_ALL,
    WINDOWS,
    Story,
    application,
    entries,
    made,
    obstacles,
    question,
)
from tests.builders.reporting_database import reporting_database
from tests.builders.sinks import DurableSink
from tests.fakes.reporting import batch, decided, enrolled, unmanaged


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with reporting_database(database_url) as opened:
        yield opened


@pytest.fixture
def readiness(database: Database) -> SqlReadiness:
    return SqlReadiness(database)


@pytest.fixture
def story(sink: DurableSink) -> Story:
    return Story(sink)


def names(found: Sequence[ReadinessEntry]) -> list[str]:
    return [entry.name for entry in found]


async def test_whoever_had_managed_attempts_alone_is_ready_and_comes_first(
    readiness: SqlReadiness, story: Story
) -> None:
    await story.tell(
        made("carol", "old", administrator=True),
        made("bob", "old"),
        made("bob", "old"),
        made("bob", "new", managed=True),
        made("alice", "new", managed=True),
    )
    found, split = await entries(readiness, ReadinessQuestion(question()))
    assert [(entry.name, entry.readiness, entry.managed, entry.unmanaged) for entry in found] == [
        ("alice", Readiness.READY, 1, 0),
        ("carol", Readiness.UNMANAGED, 0, 1),
        ("bob", Readiness.PARTLY, 1, 2),
    ]
    assert split == Split(managed_only=1, both=1, unmanaged_only=1)
    assert [entry.administrator for entry in found] == [False, True, False]


async def test_of_those_with_as_many_unmanaged_attempts_the_one_with_most_managed_ones_comes_first_then_the_name_decides(
    readiness: SqlReadiness, story: Story
) -> None:
    await story.tell(*(made(user, "app", managed=True) for user in ("zoe", "Zoe", "ann", "mia", "mia")))
    found, _ = await entries(readiness, ReadinessQuestion(question()))
    assert names(found) == ["mia", "Zoe", "ann", "zoe"]


async def test_an_administrator_whose_attempts_were_all_managed_is_ready_and_still_one(
    readiness: SqlReadiness, story: Story
) -> None:
    await story.tell(made("alice", "new", managed=True, administrator=True), made("alice", "new", managed=True))
    (alice,), _ = await entries(readiness, ReadinessQuestion(question()))
    assert (alice.readiness, alice.administrator) == (Readiness.READY, True)


async def test_the_first_five_obstacles_are_told_and_how_many_there_are(readiness: SqlReadiness, story: Story) -> None:
    for number in range(7):
        await story.tell(*[made("alice", f"app-{number}")] * (number + 1))
    await story.tell(made("alice", "fine", managed=True), made("bob", "app-0"))
    found, _ = await entries(readiness, ReadinessQuestion(question()))
    alice = next(entry for entry in found if entry.name == "alice")
    assert alice.obstacles.count == 7
    told = [(one.application.file_name, one.count) for one in alice.obstacles.first]
    assert told == [("app-6.exe", 7), ("app-5.exe", 6), ("app-4.exe", 5), ("app-3.exe", 4), ("app-2.exe", 3)]


async def test_only_the_verdicts_that_were_asked_for_are_listed_and_all_are_in_the_split(
    readiness: SqlReadiness, story: Story
) -> None:
    await story.tell(
        made("alice", "a", managed=True), made("bob", "a"), made("carol", "a"), made("carol", "a", managed=True)
    )
    everyone = {Readiness.READY: ["alice"], Readiness.PARTLY: ["carol"], Readiness.UNMANAGED: ["bob"]}
    for verdict, expected in everyone.items():
        found, split = await entries(readiness, ReadinessQuestion(question(), verdicts=frozenset({verdict})))
        assert names(found) == expected
        assert split == Split(managed_only=1, both=1, unmanaged_only=1)
    both = frozenset({Readiness.READY, Readiness.UNMANAGED})
    found, _ = await entries(readiness, ReadinessQuestion(question(), verdicts=both), size=1)
    assert names(found) == ["alice", "bob"]


async def test_a_split_is_told_where_nobody_is_listed(readiness: SqlReadiness, story: Story) -> None:
    empty, split = await entries(readiness, ReadinessQuestion(question()))
    assert (empty, split.total) == ([], 0)
    await story.tell(made("alice", "a", managed=True))
    nobody, split = await entries(readiness, ReadinessQuestion(question(), verdicts=frozenset({Readiness.UNMANAGED})))
    assert (nobody, split) == ([], Split(managed_only=1, both=0, unmanaged_only=0))


async def test_devices_are_judged_over_all_their_users(readiness: SqlReadiness, story: Story) -> None:
    await story.tell(
        made("alice", "a", managed=True, device="d1"),
        made("bob", "a", device="d1", administrator=True),
        made("bob", "a", managed=True, device="d2"),
    )
    found, split = await entries(readiness, ReadinessQuestion(question(), Subject.DEVICE))
    assert [(entry.device_id, entry.name, entry.readiness, entry.administrator) for entry in found] == [
        ("d2", "name-of-d2", Readiness.READY, False),
        ("d1", "name-of-d1", Readiness.PARTLY, True),
    ]
    assert [one.application for one in found[1].obstacles.first] == [application("a")]
    assert split == Split(managed_only=1, both=1, unmanaged_only=0)


@pytest.mark.parametrize("window", WINDOWS)
async def test_a_device_has_the_name_that_it_had_last(
    readiness: SqlReadiness, sink: DurableSink, window: dict[str, Any]
) -> None:
    for number, name in enumerate(("b-first", "c-then", "b-first", "a-last", "b-first"), start=1):
        told = decided(number, at=MIDNIGHT + number * DAY)
        await sink.store([batch([told], device="d1", name=name, journal=f"j-{number}")])
    found, _ = await entries(readiness, ReadinessQuestion(question(**window), Subject.DEVICE))
    assert [(entry.name, entry.managed) for entry in found] == [("b-first", 5)]
    earlier = {**SOME_OF_ALL, "occurred_before": MIDNIGHT + 5 * DAY}
    found, _ = await entries(readiness, ReadinessQuestion(question(**earlier), Subject.DEVICE))
    assert [(entry.name, entry.managed) for entry in found] == [("a-last", 4)]


async def test_the_application_that_alone_keeps_most_users_back_comes_first(
    readiness: SqlReadiness, story: Story
) -> None:
    await story.tell(
        made("alice", "only"),
        made("bob", "only"),
        made("bob", "only", device="second"),
        *(made(user, app) for user in ("carol", "dan", "eve") for app in ("common", "other")),
        made("eve", "only", managed=True),
    )
    found = await obstacles(readiness, question())
    assert [(one.application.file_name, one.users_freed, one.users, one.devices, one.count) for one in found] == [
        ("only.exe", 2, 2, 3, 3),
        ("common.exe", 0, 3, 3, 3),
        ("other.exe", 0, 3, 3, 3),
    ]


async def test_an_obstacle_names_its_newest_attempt(readiness: SqlReadiness, story: Story) -> None:
    await story.tell(made("alice", "a"), days=3)
    await story.tell(made("bob", "a"), days=5)
    await story.tell(made("carol", "a"), days=4)
    await story.tell(made("dan", "a", managed=True), days=6)
    (one,) = await obstacles(readiness, question())
    assert one.attempt_id == "attempt-2"
    (one,) = await obstacles(readiness, question(users=("alice", "carol", "dan")))
    assert one.attempt_id == "attempt-3"


async def test_an_application_is_one_however_its_files_were_decided_and_another_with_another_version(
    readiness: SqlReadiness, sink: DurableSink
) -> None:
    told = [
        unmanaged(1, file={"version": "1"}),
        unmanaged(2, file={"version": "1"}, source=event_pb2.SOURCE_NO_RULE, elevation_type=2),
        unmanaged(3, file={"version": "2"}),
    ]
    await sink.store([batch(told)])
    found = await obstacles(readiness, question())
    assert [(one.application.version, one.count, one.users, one.users_freed) for one in found] == [
        ("1", 2, 1, 0),
        ("2", 1, 1, 0),
    ]


async def test_only_what_the_caller_may_see_is_judged(
    readiness: SqlReadiness, story: Story, database: Database
) -> None:
    await SqlDeviceRecords(database).remember([enrolled("d1", "emea"), enrolled("d2", "apac")])
    await story.tell(
        made("alice", "a", device="d1"), made("alice", "a", managed=True, device="d2"), made("bob", "b", device="d2")
    )
    seen: dict[str, tuple[Any, ...]] = {}
    for tag in ("emea", "apac", "other"):
        asked = question(frozenset({tag}))
        found, split = await entries(readiness, ReadinessQuestion(asked))
        listed = [(one.application.file_name, one.attempt_id) for one in await obstacles(readiness, asked)]
        seen[tag] = ([(entry.name, entry.readiness) for entry in found], split.total, listed)
    assert seen == {
        "emea": ([("alice", Readiness.UNMANAGED)], 1, [("a.exe", "attempt-1")]),
        "apac": ([("alice", Readiness.READY), ("bob", Readiness.UNMANAGED)], 2, [("b.exe", "attempt-3")]),
        "other": ([], 0, []),
    }


async def test_pages_tell_of_what_was_stored_when_the_walk_began(readiness: SqlReadiness, story: Story) -> None:
    await story.tell(*(made(user, "a") for user in ("alice", "bob", "carol")), made("dan", "b"), made("eve", "c"))
    first = await list_readiness(readiness, ReadinessQuestion(question()), page_size=2, page_token="")
    in_way = await list_obstacles(readiness, question(), page_size=1, page_token="")
    await story.tell(made("alice", "a"), made("new", "a", managed=True), *[made("carol", "d")] * 3)
    walked, token = list(first.page.items), first.page.next_token
    while token:
        page = await list_readiness(readiness, ReadinessQuestion(question()), page_size=2, page_token=token)
        assert page.split == first.split
        walked, token = [*walked, *page.page.items], page.page.next_token
    assert [(entry.name, entry.unmanaged) for entry in walked] == [
        (user, 1) for user in ("alice", "bob", "carol", "dan", "eve")
    ]
    listed, token = list(in_way.items), in_way.next_token
    while token:
        later = await list_obstacles(readiness, question(), page_size=1, page_token=token)
        listed, token = [*listed, *later.items], later.next_token
    assert [(one.application.file_name, one.count, one.devices, one.users_freed) for one in listed] == [
        ("a.exe", 3, 3, 3),
        ("b.exe", 1, 1, 1),
        ("c.exe", 1, 1, 1),
    ]


async def test_a_filter_of_managed_attempts_is_refused_with_everything_else(readiness: SqlReadiness) -> None:
    asked = question(managed=True, occurred_from=MIDNIGHT, occurred_before=MIDNIGHT)
    for refused in (
        list_readiness(readiness, ReadinessQuestion(asked), page_size=-1, page_token=""),
        list_obstacles(readiness, asked, page_size=-1, page_token=""),
    ):
        with pytest.raises(InvalidError) as error:
            await refused
        fields = {problem.field for problem in error.value.problems}
        assert fields == {"filter.managed", "filter.occurred_before", "page_size"}


async def test_a_token_belongs_to_one_question(readiness: SqlReadiness, story: Story) -> None:
    await story.tell(made("alice", "a"), made("bob", "b"))
    token = (await list_readiness(readiness, ReadinessQuestion(question()), page_size=1, page_token="")).page.next_token
    for other in (
        ReadinessQuestion(question(), Subject.DEVICE),
        ReadinessQuestion(question(users=("alice",))),
        ReadinessQuestion(question(), verdicts=frozenset({Readiness.READY})),
    ):
        with pytest.raises(InvalidError):
            await list_readiness(readiness, other, page_size=1, page_token=token)


async def test_the_newest_attempt_of_an_application_is_the_same_whether_its_day_is_read_or_walked_along(
    database: Database, sink: DurableSink
) -> None:
    files = [{"path": f"C:/{letter}.exe", "publisher": letter, "version": ""} for letter in "abc"]
    events = [
        unmanaged(number, user="alice", at=MIDNIGHT + timedelta(hours=number % 7), file=files[number % 3])
        for number in range(1, 31)
    ]
    await sink.store([batch(events, device="d1")])
    ways = [Few((100,)), Few((0,), of_day=1000), Few((0,), of_day=0), Few((2, 5), of_day=0)]
    async with database.read() as tx:
        found = [await obstacles_page(tx, question(), PageRequest(10), few=few) for few in ways]
    read = found[0]
    assert len(read.items) == 3
    assert all(one.attempt_id for one in read.items)
    assert all(one == read for one in found)


WAYS: Sequence[dict[str, Any]] = (
    {},
    {"newest": (1, 2, 3)},
    {"newest": (100,)},
    {"newest": (100, 100)},
    {"of_day": 1000},
    {"of_days": 1000},
    {"of_days": 4},
    {"looks": 1000},
    {"looks": 8},
    {"devices": 0, "looks": 1000},
)


async def test_the_newest_attempt_is_one_of_those_who_are_asked_about_however_it_is_found(
    database: Database, sink: DurableSink
) -> None:
    ages = {"a": (50, 40, 20), "b": (50, 3, 2), "c": (1, 0), "d": (50,)}
    told = [(letter, age) for letter, days in ages.items() for age in days]

    def of(user: str, first: int, **later: float) -> list[event_pb2.ElevationEvent]:
        return [
            unmanaged(number, user=user, at=MIDNIGHT - timedelta(days=age, **later), file={"path": f"C:/{letter}.exe"})
            for number, (letter, age) in enumerate(told, start=first)
        ]

    of_alice = of("alice", 1)
    await sink.store([batch(of_alice, device="d1")])
    await sink.store([batch(of("bob", 101, hours=-3), device="d2")])
    newest = {letter: event.attempt_id for (letter, _), event in zip(told, of_alice, strict=True)}
    nothing = Few((), of_day=0, of_days=0, looks=0)
    ways = [Few(), *(replace(nothing, **way) for way in WAYS)]
    async with database.read() as tx:
        for field, name in (("users", "alice"), ("device_ids", "d1")):
            values: dict[str, Any] = {field: (name,)}
            for few in ways:
                found = await obstacles_page(tx, question(**values), PageRequest(10), few=few)
                assert {one.application.file_name[0]: one.attempt_id for one in found.items} == newest, (field, few)


async def test_the_newest_attempt_of_an_application_is_found_however_long_ago_it_was(
    database: Database, sink: DurableSink
) -> None:
    ages = {"a": (50, 40, 20), "b": (50, 3, 2), "c": (1, 0), "d": (50,)}
    told = [(letter, age) for letter, days in ages.items() for age in days]
    events = [
        unmanaged(number, user="alice", at=MIDNIGHT - timedelta(days=age), file={"path": f"C:/{letter}.exe"})
        for number, (letter, age) in enumerate(told, start=1)
    ]
    await sink.store([batch(events, device="d1")])
    newest = {letter: event.attempt_id for (letter, _), event in zip(told, events, strict=True)}
    async with database.read() as tx:
        found = await obstacles_page(tx, question(), PageRequest(10))
    assert {one.application.file_name[0]: one.attempt_id for one in found.items} == newest


async def test_of_obstacles_that_are_as_frequent_the_first_by_name_are_told(
    sink: DurableSink, readiness: SqlReadiness
) -> None:
    files = [{"path": f"C:/{letter}.exe", "version": ""} for letter in "hgfedcba"]
    events = [unmanaged(number, user="alice", file=files[number % 8]) for number in range(16)]
    events += [unmanaged(20 + number, user="alice", file=files[0]) for number in range(2)]
    await sink.store([batch(events)])
    (entry,) = (await list_readiness(readiness, ReadinessQuestion(question()), page_size=1, page_token="")).page.items
    assert entry.obstacles.count == 8
    told = [(one.application.file_name, one.count) for one in entry.obstacles.first]
    assert told == [("h.exe", 4), ("a.exe", 2), ("b.exe", 2), ("c.exe", 2), ("d.exe", 2)]
