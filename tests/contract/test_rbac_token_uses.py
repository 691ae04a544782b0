"""When tokens were last shown, as SQLite and PostgreSQL keep it."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from services._chassis.db import Database
from services._chassis.migrate import upgrade
from services.rbac.model.nouns import Token
from services.rbac.store import SqlStore, SqlTokenUses
from tests.fakes.clock import NOW

MINUTE = timedelta(minutes=1)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = await Database.connect(database_url, service="rbac")
    await upgrade(opened)
    async with SqlStore(opened).writing() as work:
        for name in ("t1", "t2", "t3"):
            digest = name.encode().ljust(32)
            await work.put(Token(token_id=name, digest=digest, principal="user:alice", description="", created=NOW))
    yield opened
    await opened.close()


@pytest.fixture
def uses(database: Database) -> SqlTokenUses:
    return SqlTokenUses(database)


async def test_a_token_that_was_never_shown_has_no_last_use(uses: SqlTokenUses) -> None:
    assert dict(await uses.last_used(["t1"])) == {}


async def test_the_last_use_is_kept_and_given_back_for_the_tokens_that_are_asked_for(uses: SqlTokenUses) -> None:
    await uses.note({"t1": NOW, "t2": NOW + MINUTE})
    assert dict(await uses.last_used(["t2", "t3"])) == {"t2": NOW + MINUTE}


async def test_a_later_use_replaces_an_earlier_one_and_never_the_other_way_round(uses: SqlTokenUses) -> None:
    await uses.note({"t1": NOW, "t2": NOW})
    await uses.note({"t1": NOW + MINUTE, "t2": NOW - MINUTE})
    assert dict(await uses.last_used(["t1", "t2"])) == {"t1": NOW + MINUTE, "t2": NOW}


async def test_the_use_of_a_token_that_is_not_there_is_forgotten(uses: SqlTokenUses) -> None:
    await uses.note({"none": NOW})
    await uses.note({})
    assert dict(await uses.last_used(["none"])) == {}


async def test_a_token_that_is_revoked_keeps_its_last_use(database: Database, uses: SqlTokenUses) -> None:
    await uses.note({"t1": NOW})
    async with SqlStore(database).writing() as work:
        digest = b"t1".ljust(32)
        token = Token(token_id="t1", digest=digest, principal="user:a", description="", created=NOW, revoked=NOW)
        await work.put(token)
    assert dict(await uses.last_used(["t1"])) == {"t1": NOW}


async def test_a_use_changes_nothing_that_others_have_to_hear_of(database: Database, uses: SqlTokenUses) -> None:
    before = await database.current_revision()
    await uses.note({"t1": NOW})
    assert await database.current_revision() == before


async def test_reports_at_the_same_time_all_count(uses: SqlTokenUses) -> None:
    orders = [("t1", "t2", "t3"), ("t3", "t2", "t1"), ("t2", "t3", "t1")] * 5
    await asyncio.gather(
        *(uses.note(dict.fromkeys(order, NOW + number * MINUTE)) for number, order in enumerate(orders))
    )
    assert set((await uses.last_used(["t1", "t2", "t3"])).values()) == {NOW + (len(orders) - 1) * MINUTE}
