"""How many requests are taken of one device, whichever replica is asked and however often, on SQLite and on PostgreSQL."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import count

import pytest
import sqlalchemy as sa

from elevation.model import DefaultResponse
from services._chassis.db import Database
from services._chassis.errors import LimitError
from services.policy.model.request_limits import (
    EVIDENCE_OF_ONE_DEVICE_A_DAY,
    EVIDENCE_OF_ONE_USER_A_DAY,
    OF_ONE_DEVICE,
    OF_ONE_USER,
    PERIOD,
)
from services.policy.model.requests import ElevationRequest
from services.policy.store.elevation_requests import SqlElevationRequests
from services.policy.store.recent_requests import SqlRecentRequests
from services.policy.store.tables import METADATA
from services.policy.usecases.requests.asking import Asking
from services.policy.usecases.requests.today import PolicyOfToday
from tests.builders.policy_database import policy_database
from tests.builders.requests import request
from tests.fakes.clock import NOW
from tests.fakes.policy_delivery import FakeDirectories, corpus, device, policy_book, settings
from tests.unit.policy.test_request_asking import WANTED

SECOND = timedelta(seconds=1)


async def refused(
    store: SqlElevationRequests, made: ElevationRequest, now: datetime = NOW, certificates: Sequence[bytes] = ()
) -> LimitError:
    with pytest.raises(LimitError) as error:
        await store.submit(made, certificates, now)
    assert error.value.reason == "TOO_MANY_REQUESTS"
    return error.value


async def rows(database: Database) -> dict[str, int]:
    async with database.read() as tx:
        counted = [(table.name, sa.select(sa.func.count()).select_from(table)) for table in METADATA.sorted_tables]
        return {name: (await tx.execute(asked)).scalar_one() for name, asked in counted}


async def test_replicas_that_are_asked_at_once_take_no_more_than_one_would(database_url: str) -> None:
    async with AsyncExitStack() as held:
        both = [await held.enter_async_context(policy_database(database_url)) for _ in range(2)]
        stores = [SqlElevationRequests(database) for database in both]
        asked = [stores[number % 2].submit(request(number), [], NOW) for number in range(OF_ONE_USER + 6)]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert sum(isinstance(answer, LimitError) for answer in answers) == 6
        assert (await rows(both[0]))["policy_elevation_request"] == OF_ONE_USER


async def test_limits_hold_over_a_restart_and_end_when_the_hour_does(database_url: str) -> None:
    async with policy_database(database_url) as database:
        store = SqlElevationRequests(database)
        for number in range(OF_ONE_USER):
            now = NOW + number * SECOND
            await store.submit(request(number, submitted=now), [], now)
    async with policy_database(database_url) as database:
        store, now = SqlElevationRequests(database), NOW + 60 * SECOND
        error = await refused(store, request(90, submitted=now), now)
        assert "this user asked for 20 approvals within an hour" in str(error)
        assert error.retry_after == PERIOD - 60 * SECOND
        assert (await store.submit(request(3), [], now)).request == request(3, submitted=NOW + 3 * SECOND)
        await refused(store, request(91), NOW + PERIOD - SECOND)
        later = NOW + PERIOD
        assert (await store.submit(request(92, submitted=later), [], later)).request.submitted == later
        await refused(store, request(93, submitted=later), later)


async def test_one_user_who_floods_leaves_the_others_their_share_of_the_device(database_url: str) -> None:
    async with policy_database(database_url) as database:
        store, numbers = SqlElevationRequests(database), count()
        for user in range(OF_ONE_DEVICE // OF_ONE_USER):
            for _ in range(OF_ONE_USER):
                await store.submit(request(next(numbers), user=f"user-{user}"), [], NOW)
            await refused(store, request(next(numbers), user=f"user-{user}"))
        assert "this device" in str(await refused(store, request(next(numbers), user="another")))
        other = request(next(numbers), device_id="d2")
        assert (await store.submit(other, [], NOW)).request == other


async def test_a_day_has_room_for_so_much_evidence_though_it_was_taken_back(database_url: str) -> None:
    async with policy_database(database_url) as database:
        store, numbers = SqlElevationRequests(database), count()
        certificates = [b"x" * (EVIDENCE_OF_ONE_USER_A_DAY // 4 - 2000)]
        for user in range(EVIDENCE_OF_ONE_DEVICE_A_DAY // EVIDENCE_OF_ONE_USER_A_DAY):
            for _ in range(4):
                made = request(next(numbers), user=f"user-{user}")
                await store.submit(made, certificates, NOW)
                await store.change([made.request_id], ElevationRequest.cancelled, lambda: NOW)
            error = await refused(store, request(next(numbers), user=f"user-{user}"), NOW, certificates)
            assert f"this user sent {EVIDENCE_OF_ONE_USER_A_DAY} bytes of evidence within a day" in str(error)
        later = NOW + timedelta(hours=23)
        error = await refused(store, request(next(numbers), user="another", submitted=later), later, certificates)
        assert "this device sent" in str(error)
        await store.submit(request(next(numbers), user="another", submitted=later), [], later)


async def test_a_clock_that_was_set_back_far_lets_ask_again(database_url: str) -> None:
    async with policy_database(database_url) as database:
        store, numbers = SqlElevationRequests(database), count()
        for _ in range(OF_ONE_USER):
            await store.submit(request(next(numbers)), [], NOW)
        error = await refused(store, request(next(numbers)), NOW - PERIOD + SECOND)
        assert error.retry_after == PERIOD
        earlier = NOW - PERIOD
        await store.submit(request(next(numbers), submitted=earlier), [], earlier)


async def test_a_thousand_requests_of_one_device_leave_nothing_behind_but_those_that_were_taken(
    database_url: str,
) -> None:
    async with policy_database(database_url) as database:
        known = device("d1", "alice")
        book = policy_book(FakeDirectories(known))
        book.put(corpus(settings(default_response=DefaultResponse.SUPPORT_APPROVED)))
        decided = count()
        asking = Asking(
            SqlElevationRequests(database),
            SqlRecentRequests(database),
            PolicyOfToday(book),
            new_id=lambda: f"{next(decided):08x}",
        )
        wanted = [replace(WANTED, attempt_id=f"attempt-{number}", arguments=(str(number),)) for number in range(1000)]
        for each in wanted[:OF_ONE_USER]:
            await asking.submit(known, each, NOW)
        before = await rows(database)
        for each in wanted[OF_ONE_USER:]:
            with pytest.raises(LimitError):
                await asking.submit(known, each, NOW)
        assert await rows(database) == before
        assert next(decided) == OF_ONE_USER
