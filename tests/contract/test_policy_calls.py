"""Calls that come twice, and callers who come at once: in memory, on SQLite and on PostgreSQL, at one server and at two."""

import asyncio
from datetime import datetime, timedelta
from random import Random

import pytest
import sqlalchemy as sa

from elevation.model import ReusableCertificate, SettingsPolicy
from services._chassis.errors import ConflictError
from services.policy.model.objects import Stored
from services.policy.ports import Bound, KeptAnswer, Store
from services.policy.store.objects import SqlStore
from services.policy.store.tables import REQUEST
from tests.builders.authoring import desk_at
from tests.builders.policy import reusable, rule, rules_policy, settings_policy
from tests.builders.policy_database import policy_database
from tests.fakes.clock import NOW


async def test_what_a_call_was_answered_is_kept_for_its_caller(policy_store: Store) -> None:
    made = KeptAnswer(b"digest", b"answer", NOW)
    async with policy_store.writing() as work:
        await work.requests.keep("user:alice", "id-1", made, oldest=NOW - timedelta(days=1))
    async with policy_store.reading() as work:
        assert await work.requests.find("user:alice", "id-1") == made
        assert await work.requests.find("user:bob", "id-1") is None
        assert await work.requests.find("user:alice", "ID-1") is None


async def test_an_answer_takes_the_place_of_an_older_one_and_old_ones_are_dropped(policy_store: Store) -> None:
    times = {"old": NOW - timedelta(days=1), "young": NOW - timedelta(hours=23), "same": NOW - timedelta(hours=1)}
    for name, time in times.items():
        async with policy_store.writing() as work:
            kept = KeptAnswer(b"", name.encode(), time)
            await work.requests.keep("user:alice", name, kept, oldest=NOW - timedelta(days=9))
    new = KeptAnswer(b"new", b"", NOW)
    async with policy_store.writing() as work:
        await work.requests.keep("user:alice", "same", new, oldest=NOW - timedelta(days=1))
    async with policy_store.reading() as work:
        found = [await work.requests.find("user:alice", name) for name in times]
    assert found == [None, KeptAnswer(b"", b"young", times["young"]), new]


def incompressible(size: int) -> bytes:
    """Return what is no shorter when it is compressed."""
    return Random(size).randbytes(size)  # noqa: S311 - no secret


@pytest.mark.parametrize(("bound", "left"), [(Bound(calls=3), "345"), (Bound(size=2500), "45"), (Bound(size=1), "5")])
async def test_of_a_callers_answers_the_oldest_go_first_where_they_are_too_many_or_too_long(
    policy_store: Store, bound: Bound, left: str
) -> None:
    day_ago = NOW - timedelta(days=1)

    async def keep(principal: str, name: str, time: datetime, bound: Bound) -> None:
        async with policy_store.writing() as work:
            kept = KeptAnswer(b"", incompressible(1000), time)
            await work.requests.keep(principal, name, kept, oldest=day_ago, bound=bound)

    for name in "2413":
        await keep("user:alice", name, NOW - timedelta(minutes=9 - int(name)), Bound())
    await keep("user:bob", "2", NOW - timedelta(hours=1), bound)
    await keep("user:alice", "5", NOW, bound)
    async with policy_store.reading() as work:
        assert [name for name in "12345" if await work.requests.find("user:alice", name)] == list(left)
        assert await work.requests.find("user:bob", "2") is not None


async def test_the_answer_of_a_call_is_kept_though_a_clock_ran_ahead(policy_store: Store) -> None:
    for name, time in (("ahead", NOW + timedelta(hours=1)), ("new", NOW)):
        async with policy_store.writing() as work:
            made = KeptAnswer(b"", name.encode(), time)
            await work.requests.keep("user:alice", name, made, oldest=NOW - timedelta(days=1), bound=Bound(calls=1))
    async with policy_store.reading() as work:
        assert [bool(await work.requests.find("user:alice", name)) for name in ("ahead", "new")] == [False, True]


@pytest.mark.parametrize("answer", [b"", b"UNCHANGED " * 50_000, incompressible(100_000)])
async def test_answers_come_back_byte_for_byte_and_are_stored_short(database_url: str, answer: bytes) -> None:
    async with policy_database(database_url) as database:
        async with SqlStore(database).writing() as work:
            await work.requests.keep("user:alice", "id", KeptAnswer(b"", answer, NOW), oldest=NOW - timedelta(days=1))
        async with SqlStore(database).reading() as work:
            assert await work.requests.find("user:alice", "id") == KeptAnswer(b"", answer, NOW)
        async with database.read() as tx:
            stored = (await tx.execute(sa.select(sa.func.length(REQUEST.c.answer)))).scalar_one()
        assert stored < (5_000 if answer.startswith(b"UNCHANGED") else len(answer) + 100)


async def test_an_answer_shares_the_fate_of_its_transaction(policy_store: Store) -> None:
    async def keep_and_fail() -> None:
        async with policy_store.writing() as work:
            await work.requests.keep("user:alice", "id", KeptAnswer(b"", b"", NOW), oldest=NOW)
            raise LookupError

    with pytest.raises(LookupError):
        await keep_and_fail()
    async with policy_store.reading() as work:
        assert await work.requests.find("user:alice", "id") is None


async def test_of_calls_under_one_identifier_at_once_one_writes_and_all_get_its_answer(policy_store: Store) -> None:
    at = desk_at(policy_store)
    answers = await asyncio.gather(*(at.create_once(settings_policy(), "id-1") for _ in range(8)))
    assert len(set(answers)) == 1
    async with policy_store.reading() as work:
        assert await work.revision() == 1


async def test_of_two_who_create_the_same_at_once_one_is_refused(database_url: str) -> None:
    async with policy_database(database_url) as database:
        at = desk_at(SqlStore(database))
        outcomes = await asyncio.gather(
            *(at.create(settings_policy(description=text)) for text in ("one", "other")), return_exceptions=True
        )
        assert [type(outcome) for outcome in outcomes if isinstance(outcome, Exception)] == [ConflictError]
        assert await database.current_revision() == 1


async def test_of_two_who_edit_at_once_at_two_servers_one_wins_and_the_other_learns_the_etag(database_url: str) -> None:
    async with policy_database(database_url) as database, policy_database(database_url) as other:
        desks = [desk_at(SqlStore(opened_here)) for opened_here in (database, other)]
        etag = (await desks[0].create(settings_policy())).about.etag
        for _ in range(5):
            outcomes = await asyncio.gather(
                *(
                    at.update(settings_policy(description=f"{etag} {number}"), etag=etag)
                    for number, at in enumerate(desks)
                ),
                return_exceptions=True,
            )
            (won,) = (outcome for outcome in outcomes if isinstance(outcome, Stored))
            (lost,) = (outcome for outcome in outcomes if isinstance(outcome, ConflictError))
            assert lost.stale
            assert f'its etag is now "{won.about.etag}"' in lost.message
            assert await desks[0].read(SettingsPolicy, won.name) == won
            etag = won.about.etag


async def test_calls_under_one_identifier_at_two_servers_write_once(database_url: str) -> None:
    async with policy_database(database_url) as database, policy_database(database_url) as other:
        desks = [desk_at(SqlStore(opened_here)) for opened_here in (database, other)]
        answers = await asyncio.gather(*(at.create_once(settings_policy(), "id") for at in (*desks, *desks)))
        assert answers == ["1"] * 4
        assert await database.current_revision() == 1


async def test_a_certificate_is_not_deleted_while_a_rule_begins_to_name_it(database_url: str) -> None:
    async with policy_database(database_url) as database:
        at = desk_at(SqlStore(database))
        await at.create(reusable())
        await asyncio.gather(
            at.create(rules_policy("tools", rule(reusable="vendor"))),
            at.delete(ReusableCertificate, "vendor"),
            return_exceptions=True,
        )
        corpus = await SqlStore(database).corpus()
        assert bool(corpus.rules_policies) == bool(corpus.certificates)
