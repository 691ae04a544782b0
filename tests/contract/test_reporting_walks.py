"""Laws of lists: a row counts what its drill-down lists, groups narrow as one would by hand, and a walk in any order tells every row once."""

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from elevation.model import Group, GroupType
from epm.elevation.v1 import event_pb2
from services._chassis.db import Database
from services._chassis.paging import Page
from services.reporting import usecases
from services.reporting.model.devices import Directory, KnownGroup
from services.reporting.model.groups import DirectoryMemberships
from services.reporting.model.reports import ORDERS, Elevation, ElevationFilter, Question
from services.reporting.store.closing import SqlClosing
from services.reporting.store.devices import SqlDeviceRecords
from services.reporting.store.reports import SqlReports
from tests.builders.counts import forget
from tests.builders.randomreports import DEVICES, SEEN, START, TAGS, USERS, an_attempt
from tests.builders.reporting_database import reporting_database
from tests.builders.sinks import DurableSink
from tests.fakes.reporting import batch, decided, enrolled

EXAMPLES = settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
LAB, PEOPLE = {"d1", "d4"}, {"alice", "o'hara"}
DEVICE_GROUPS = {"lab": LAB, "outer": LAB | {"d2"}, "nobody": set[str](), "all-devices": {*DEVICES}}
USER_GROUPS = {"people": PEOPLE, "company": PEOPLE | {"%"}, "all-users": {*USERS}}
ASK: dict[str, Callable[..., Awaitable[Page[Any]]]] = {
    "elevations": usecases.list_elevations,
    "applications": usecases.list_applications,
    "publishers": usecases.list_publishers,
    "users": usecases.list_users,
}
MEMBERS = {
    "applications": (
        "file_name",
        "internal_name",
        "version",
        "company_name",
        "sha256",
        "publisher",
        "elevation_type",
    ),
    "publishers": ("publisher", "elevation_type"),
    "users": ("user",),
}
COUNTS = tuple(MEMBERS)
ANY_ORDER = [(name, f"{by}{turn}") for name, orders in ORDERS.items() for by in orders for turn in ("", " desc")]


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with reporting_database(database_url) as opened:
        await SqlDeviceRecords(opened).remember([enrolled(name, *tags) for name, tags in TAGS.items()])
        yield opened


def memberships() -> DirectoryMemberships:
    """Return groups that list, nest and find."""
    groups = (
        Group("lab", GroupType.DEVICE, tuple(f"name-of-{name}" for name in sorted(LAB))),
        Group("outer", GroupType.DEVICE, (), groups=("lab", "found")),
        Group("found", GroupType.DEVICE, filter='name = "name-of-d2"'),
        Group("nobody", GroupType.DEVICE),
        Group("people", GroupType.USER, tuple(sorted(PEOPLE))),
        Group("company", GroupType.USER, ("%",), groups=("people",)),
    )
    known = Directory()
    known.replace(
        {name: enrolled(name) for name in DEVICES},
        {group.name: KnownGroup(group) for group in groups},
    )
    return DirectoryMemberships(known)


GROUPS = memberships()
_NARROWING: dict[str, Any] = {
    "device_groups": st.sampled_from([("lab",), ("outer",), ("lab", "nobody"), ("nobody",), ("all-devices", "lab")]),
    "user_groups": st.sampled_from([("people",), ("company",), ("company", "people"), ("all-users", "people")]),
    "administrator": st.booleans(),
    "device_ids": st.just(("d1", "d2", "d3")),
    "internal_names": st.sampled_from([("",), ("setup",)]),
    "versions": st.just(("1.0", "")),
    "company_names": st.sampled_from([("",), ("Example",)]),
    "attempt_ids": st.just(tuple(f"attempt-{number}" for number in range(1, 41, 2))),
}
NARROW = st.sets(st.sampled_from([*_NARROWING]), max_size=2).flatmap(
    lambda names: st.fixed_dictionaries({name: _NARROWING[name] for name in sorted(names)})
)


def said(found: Elevation) -> event_pb2.Decided:
    return event_pb2.ElevationEvent.FromString(found.body).decided


def meets(found: Elevation, narrow: dict[str, Any], tags: frozenset[str] | None) -> bool:
    """Tell whether an attempt is one that is asked for, in plain words."""
    decided = said(found)
    devices = set().union(*(DEVICE_GROUPS[name] for name in narrow.get("device_groups", ["all-devices"])))
    users = set().union(*(USER_GROUPS[name] for name in narrow.get("user_groups", ["all-users"])))
    return (
        (tags is None or not tags.isdisjoint(TAGS[found.device_id]))
        and found.device_id in devices
        and found.device_id in narrow.get("device_ids", [found.device_id])
        and decided.user in users
        and decided.administrator == narrow.get("administrator", decided.administrator)
        and decided.file.internal_name in narrow.get("internal_names", [decided.file.internal_name])
        and decided.file.version in narrow.get("versions", [decided.file.version])
        and decided.file.company_name in narrow.get("company_names", [decided.file.company_name])
        and found.attempt_id in narrow.get("attempt_ids", [found.attempt_id])
    )


async def whole(ask: Callable[..., Awaitable[Page[Any]]], **asked: Any) -> list[Any]:
    """Return everything that a list has."""
    found: list[Any] = []
    token = ""
    while True:
        page = await ask(page_token=token, **{"page_size": 1000, **asked})
        found += page.items
        if not (token := page.next_token):
            return found


def ids(found: Sequence[Elevation]) -> list[str]:
    return [one.event_id for one in found]


@EXAMPLES
@given(seed=st.integers(0, 2**32), data=st.data())
async def test_a_row_counts_what_its_drill_down_lists_and_groups_narrow_as_by_hand(
    database: Database, sink: DurableSink, seed: int, data: st.DataObject
) -> None:
    die = random.Random(seed)  # noqa: S311 - attempts, no secrets
    narrow: dict[str, Any] = data.draw(NARROW)
    tags = data.draw(st.sampled_from(SEEN))
    await sink.store([batch([an_attempt(n, die)], device=die.choice(DEVICES), first=n) for n in range(1, 41)])
    seen = None if tags is None else frozenset(tags)
    reports, asked = SqlReports(database), Question(ElevationFilter(**narrow), seen, groups=GROUPS)
    everything = await whole(partial(usecases.list_elevations, reports, Question(ElevationFilter(), None)))
    expected = sorted(ids([one for one in everything if meets(one, narrow, seen)]))
    assert sorted(ids(await whole(partial(usecases.list_elevations, reports, asked)))) == expected
    assert (await usecases.summarize(reports, asked)).total == len(expected)
    for name in COUNTS:
        by = data.draw(st.sampled_from([by for known, by in ANY_ORDER if known == name]))
        behind: list[str] = []
        for row in await whole(partial(ASK[name], reports, asked), page_size=3, order_by=by):
            opened = Question(asked.filter, seen, drill_down=row.drill_down, groups=GROUPS)
            found = ids(await whole(partial(usecases.list_elevations, reports, opened)))
            assert len(found) == (row.total if name == "users" else row.count), row
            behind += found
        assert sorted(behind) == expected
    await forget(database)


@pytest.mark.parametrize(("name", "by"), [pair for pair in ANY_ORDER if pair[0] in COUNTS])
async def test_counts_stand_in_the_order_and_a_walk_tells_those_of_its_beginning_once(
    database: Database, sink: DurableSink, name: str, by: str
) -> None:
    die = random.Random(f"{name} {by}")  # noqa: S311 - attempts, no secrets
    await sink.store([batch([an_attempt(n, die)], device=die.choice(DEVICES), first=n) for n in range(1, 60)])
    reports, question = SqlReports(database), Question(ElevationFilter(), None)
    ask = partial(ASK[name], reports, question, order_by=by)
    expected = await whole(ask)
    word, *desc = by.split()
    alike = sorted(expected, key=lambda row: tuple(getattr(row, member) for member in MEMBERS[name]))
    assert expected == sorted(alike, key=lambda row: getattr(row, word), reverse=bool(desc))
    found: list[Any] = []
    token, number = "", 1000
    while True:
        page = await ask(page_size=2, page_token=token)
        found += page.items
        await sink.store([batch([an_attempt(number + n, die) for n in range(3)], device="d1", first=number)])
        number += 3
        if not (token := page.next_token):
            break
    assert found == expected


@pytest.mark.parametrize("seen", [{"emea"}, {"emea", "apac", "default"}])
@pytest.mark.parametrize("name", COUNTS)
async def test_a_walk_of_who_sees_some_devices_tells_the_counts_of_its_beginning_while_days_are_closed(
    database: Database, sink: DurableSink, name: str, seen: set[str]
) -> None:
    die = random.Random(f"{name} {sorted(seen)}")  # noqa: S311 - attempts, no secrets
    for number, device in enumerate(DEVICES):
        await sink.store([batch([an_attempt(30 * number + n, die) for n in range(1, 31)], device=device, first=1)])
    ask = partial(ASK[name], SqlReports(database), Question(ElevationFilter(), frozenset(seen)), page_size=2)
    expected = await whole(ask)
    found: list[Any] = []
    token, sent = "", 1000
    while True:
        page = await ask(page_token=token)
        found += page.items
        await sink.store([batch([an_attempt(sent + n, die) for n in range(3)], device="d2", first=sent)])
        now = START + timedelta(days=sent - 1000)
        await SqlClosing(database, lambda now=now: now, pause=at_once).close()  # type: ignore[misc]
        sent += 9
        if not (token := page.next_token):
            break
    assert found == expected


async def at_once(_seconds: float) -> None:
    """Go on at once."""


@pytest.mark.parametrize("by", ["occurred", "occurred desc", ""])
async def test_a_walk_over_attempts_tells_each_of_its_beginning_once_in_either_direction(
    database: Database, sink: DurableSink, by: str
) -> None:
    die = random.Random(by)  # noqa: S311 - attempts, no secrets
    alike = [decided(number, at=START) for number in range(1, 6)]
    await sink.store([batch([*alike, *(an_attempt(n, die) for n in range(6, 30))])])
    reports, question = SqlReports(database), Question(ElevationFilter(), None)
    ask = partial(usecases.list_elevations, reports, question, order_by=by)
    expected = await whole(ask)
    assert expected == sorted(expected, key=lambda one: (one.occurred, one.event_id), reverse=by != "occurred")
    found: list[Any] = []
    token, number = "", 1000
    while True:
        page = await ask(page_size=2, page_token=token)
        found += page.items
        await sink.store([batch([an_attempt(number + n, die) for n in range(3)], device="d2", first=number)])
        number += 3
        if not (token := page.next_token) or number > 2000:
            break
    assert [one for one in found if one in expected] == expected
    assert len(ids(found)) == len(set(ids(found)))
