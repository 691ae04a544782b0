"""What every store of authored objects does: in memory, on SQLite and on PostgreSQL."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Protocol

import pytest
import sqlalchemy as sa

from elevation.model import FilterMode, Include, ReusableCertificate, RulesPolicy, SettingsPolicy
from services._chassis.db import Database
from services._chassis.migrate import differences, upgrade
from services.policy.model.objects import AnyContent, Change, Stored
from services.policy.ports import CorpusReader, Store
from services.policy.store.objects import SqlStore
from services.policy.store.tables import AUDIT, HISTORY, METADATA, OBJECT
from tests.builders.policy import creation, deletion, included, reusable, rule, rules_policy, settings_policy, stored
from tests.databases import lent
from tests.fakes.clock import NOW
from tests.fakes.policy import MemoryStore

UNKNOWN_FIELD = b"\xf8\x06\x01"
"""Field 111, a number, in the bytes of any message."""


class ReadableStore(Store, CorpusReader, Protocol):
    """Be both ports at once, as stores are."""


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Database]:
    database = await Database.connect(url, service="policy")
    try:
        await upgrade(database)
        yield database
    finally:
        await database.close()


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ReadableStore]:
    if request.param == "memory":
        yield MemoryStore()
        return
    with lent(request, tmp_path) as url:
        async with opened(url) as database:
            yield SqlStore(database)


async def put(store: Store, *items: Stored[AnyContent]) -> int:
    async with store.writing() as work:
        revision = await work.next_revision()
        for item in items:
            await work.save(creation(item))
        return revision


def everything() -> list[Stored[AnyContent]]:
    include = (Include("all-devices", 'os = "linux"', FilterMode.EXCLUDE), Include("developers"))
    assigned = replace(included(excluding=["kiosks"]), include=include)
    return [
        stored(settings_policy(assignments=assigned, stale_after=None, description="two\nlines")),
        stored(settings_policy("slow", stale_after=timedelta(days=3, microseconds=7)), "emea", "apac"),
        stored(rules_policy("tools", rule("a"), rule("b", reusable="vendor"), assignments=assigned)),
        stored(reusable()),
    ]


@pytest.mark.parametrize("item", everything(), ids=lambda item: item.name)
async def test_an_object_comes_back_as_it_went_in(store: ReadableStore, item: Stored[AnyContent]) -> None:
    await put(store, item)
    async with store.reading() as work:
        assert await work.find(type(item.content), [item.name]) == {item.name: item}


async def test_a_name_is_unique_within_its_kind_alone(store: ReadableStore) -> None:
    twins: list[Stored[AnyContent]] = [
        stored(settings_policy("same")),
        stored(rules_policy("same")),
        stored(reusable("same")),
    ]
    await put(store, *twins)
    async with store.reading() as work:
        for twin in twins:
            assert await work.find(type(twin.content), ["same"]) == {"same": twin}


async def test_a_name_that_nobody_has_is_not_found(store: ReadableStore) -> None:
    await put(store, stored(reusable()))
    async with store.reading() as work:
        assert await work.find(ReusableCertificate, ["Vendor", "vendor ", "\x00", ""]) == {}


async def test_a_change_replaces_content_tags_and_labels(store: ReadableStore) -> None:
    old = stored(settings_policy(), "emea", "apac")
    new = replace(
        stored(settings_policy(enabled=False), "emea", revision=2),
        about=replace(old.about, labels={}, scope_tags=frozenset({"emea"})),
    )
    await put(store, old)
    async with store.writing() as work:
        await work.next_revision()
        await work.save(Change(before=old, after=new, revision=2, actor="user:bob", now=NOW))
    async with store.reading() as work:
        assert await work.find(SettingsPolicy, [old.name]) == {old.name: new}


async def test_a_deleted_object_is_gone(store: ReadableStore) -> None:
    item = stored(rules_policy(), "emea")
    await put(store, item)
    async with store.writing() as work:
        await work.save(deletion(item, await work.next_revision()))
    async with store.reading() as work:
        assert await work.find(RulesPolicy, [item.name]) == {}
        assert await work.revision() == 2


async def test_a_name_can_be_used_again_after_it_was_deleted(store: ReadableStore) -> None:
    item = stored(reusable(), "emea")
    await put(store, item)
    async with store.writing() as work:
        await work.save(deletion(item, await work.next_revision()))
    again = stored(reusable(), "apac", revision=3)
    await put(store, again)
    async with store.reading() as work:
        assert await work.find(ReusableCertificate, ["vendor"]) == {"vendor": again}


async def test_who_names_a_certificate_is_known(store: ReadableStore) -> None:
    naming = stored(rules_policy("naming", rule("a"), rule("b", reusable="vendor")))
    await put(store, naming, stored(rules_policy("other", rule(reusable="vendor-2"))), stored(reusable()))
    async with store.reading() as work:
        assert list(await work.naming("vendor")) == [naming]
        assert list(await work.naming("nobody")) == []


async def test_a_transaction_takes_one_revision_however_much_it_changes(store: ReadableStore) -> None:
    assert await put(store, *everything()) == 1
    assert await put(store, stored(reusable("another"))) == 2


async def test_looking_takes_no_revision(store: ReadableStore) -> None:
    async with store.writing() as work:
        await work.find(RulesPolicy, ["a"])
    async with store.reading() as work:
        assert await work.revision() == 0


async def test_a_block_that_fails_changes_nothing(store: ReadableStore) -> None:
    with pytest.raises(LookupError):
        await put_and_fail(store)
    async with store.reading() as work:
        assert await work.find(ReusableCertificate, ["vendor"]) == {}
        assert await work.revision() == 0


async def put_and_fail(store: Store) -> None:
    async with store.writing() as work:
        await work.next_revision()
        await work.save(creation(stored(reusable())))
        raise LookupError


async def test_the_corpus_holds_everything_by_name_at_one_revision(store: ReadableStore) -> None:
    slow, workstations = stored(settings_policy("slow"), "emea"), stored(settings_policy())
    await put(store, workstations, slow, stored(rules_policy()), stored(reusable()))
    corpus = await store.corpus()
    assert corpus.revision == 1
    assert corpus.settings_policies == (slow, workstations)
    assert corpus.rules_policies == (stored(rules_policy()),)
    assert corpus.certificates == (stored(reusable()),)


async def test_every_corpus_is_the_newest(store: ReadableStore) -> None:
    kept, gone, changing = stored(reusable("kept")), stored(reusable("gone")), stored(settings_policy())
    await put(store, kept, gone, changing)
    await store.corpus()
    changed = stored(settings_policy(enabled=False))
    async with store.writing() as work:
        revision = await work.next_revision()
        await work.save(deletion(gone, revision))
        await work.save(Change(before=changing, after=changed, revision=revision, actor="user:bob", now=NOW))
    for _ in range(2):
        corpus = await store.corpus()
        assert (corpus.revision, corpus.settings_policies, corpus.certificates) == (2, (changed,), (kept,))


async def test_an_empty_corpus_is_at_revision_zero(store: ReadableStore) -> None:
    corpus = await store.corpus()
    assert (corpus.revision, corpus.settings_policies, corpus.rules_policies, corpus.certificates) == (0, (), (), ())


async def test_the_revision_is_raised_above_what_others_have_seen_and_nothing_else_changes(database_url: str) -> None:
    async with opened(database_url) as database:
        store = SqlStore(database)
        await put(store, stored(settings_policy()))
        before = await store.corpus()
        assert await asyncio.gather(*(store.raise_revision(7) for _ in range(3))) == [8, 8, 8]
        assert database.changes.revision == 8
        assert await store.corpus() == replace(before, revision=8)
        assert [await store.raise_revision(seen) for seen in (0, 7, 8)] == [8, 8, 8]
        assert await put(store, stored(reusable())) == 9


async def test_history_keeps_what_every_revision_left(database_url: str) -> None:
    first, second = stored(settings_policy(), "emea"), stored(settings_policy(enabled=False), "apac", revision=2)
    async with opened(database_url) as database:
        await put(SqlStore(database), first)
        for change in (
            Change(before=first, after=second, revision=2, actor="user:bob", now=NOW),
            deletion(second, 3),
        ):
            async with SqlStore(database).writing() as work:
                await work.next_revision()
                await work.save(change)
        async with database.read() as tx:
            rows = (await tx.execute(sa.select(HISTORY).order_by(HISTORY.c.revision))).mappings().all()
    assert [(row["revision"], row["action"], row["actor"], row["scope_tags"]) for row in rows] == [
        (1, "created", "user:alice", ["emea"]),
        (2, "updated", "user:bob", ["apac"]),
        (3, "deleted", "user:alice", ["apac"]),
    ]
    assert rows[0]["content"] != rows[1]["content"] == rows[2]["content"]


async def test_the_audit_record_holds_the_object_before_and_after(database_url: str) -> None:
    item = stored(rules_policy("tools", rule(reusable="vendor"), assignments=included("developers")), "emea")
    async with opened(database_url) as database:
        await put(SqlStore(database), item)
        async with SqlStore(database).writing() as work:
            await work.save(deletion(item, await work.next_revision()))
        async with database.read() as tx:
            rows = (await tx.execute(sa.select(AUDIT).order_by(AUDIT.c.sequence))).mappings().all()
    assert [(row["action"], row["target_kind"], row["target"], row["revision"]) for row in rows] == [
        ("rules_policy_created", "ElevationRulesPolicy", "tools", 1),
        ("rules_policy_deleted", "ElevationRulesPolicy", "tools", 2),
    ]
    assert rows[0]["before"] == ""
    assert rows[1]["after"] == ""
    assert rows[0]["after"] == rows[1]["before"]
    after = json.loads(rows[0]["after"])
    assert after["metadata"] == {
        "name": "tools",
        "description": "",
        "scopeTags": ["emea"],
        "labels": {"owner": "team"},
    }
    assert after["spec"]["rules"][0]["detection"]["certificate"] == {
        "type": "PUBLISHER",
        "reusable": "vendor",
    }


async def test_the_audit_record_and_history_share_the_fate_of_their_change(database_url: str) -> None:
    async with opened(database_url) as database:
        with pytest.raises(LookupError):
            await put_and_fail(SqlStore(database))
        async with database.read() as tx:
            for table in (AUDIT, HISTORY):
                assert (await tx.execute(sa.select(sa.func.count()).select_from(table))).scalar_one() == 0


async def test_content_that_this_version_does_not_know_is_not_read(tmp_path: Path) -> None:
    async with opened(f"sqlite:///{tmp_path / 'policy.db'}") as database:
        await put(SqlStore(database), stored(settings_policy()))
        async with database.transaction() as tx:
            kept: bytes = (await tx.execute(sa.select(OBJECT.c.content))).scalar_one()
            await tx.execute(sa.update(OBJECT).values(content=kept + UNKNOWN_FIELD))
        with pytest.raises(ValueError, match="newer version"):
            await SqlStore(database).corpus()


async def test_the_migrations_make_the_tables_that_the_code_declares(database_url: str) -> None:
    async with opened(database_url) as database:
        assert await differences(database, METADATA) == []


async def test_migrating_again_changes_nothing(database_url: str) -> None:
    async with opened(database_url) as database:
        await put(SqlStore(database), stored(reusable()))
        await upgrade(database)
        assert await database.current_revision() == 1
