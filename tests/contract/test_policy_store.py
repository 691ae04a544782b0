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
from services._chassis.client import MESSAGE_LIMIT
from services._chassis.db import Database
from services._chassis.errors import ConflictError
from services._chassis.migrate import differences, upgrade
from services._chassis.paging import LARGEST_PAGE, PageRequest, page_request
from services.policy.model.listing import Order, Sorting
from services.policy.model.objects import AnyContent, Change, Stored
from services.policy.ports import CorpusReader, KeptAnswer, Selection, Store
from services.policy.store.objects import SqlStore
from services.policy.store.tables import AUDIT, HISTORY, METADATA, OBJECT
from tests.builders.authoring import desk_at
from tests.builders.policy import creation, deletion, included, reusable, rule, rules_policy, settings_policy, stored
from tests.fakes.clock import NOW
from tests.fakes.policy import MemoryStore
from tests.postgres import Cluster

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
    elif request.param == "sqlite":
        async with opened(f"sqlite:///{tmp_path / 'policy.db'}") as database:
            yield SqlStore(database)
    else:
        cluster: Cluster = request.getfixturevalue("postgres")
        with cluster.fresh_database() as url:
            async with opened(url) as database:
                yield SqlStore(database)


async def put(store: Store, *items: Stored[AnyContent]) -> int:
    async with store.writing() as work:
        revision = await work.next_revision()
        for item in items:
            await work.save(creation(item))
        return revision


async def names(
    store: Store, kind: type[AnyContent], request: PageRequest, visible: frozenset[str] | None = None
) -> list[str]:
    async with store.reading() as work:
        return [item.name for item in (await work.page(kind, request, Selection(visible))).items]


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


async def test_pages_follow_one_another_by_code_points(store: ReadableStore) -> None:
    await put(store, *(stored(reusable(name)) for name in ("b", "a", "B", "ä", "Z", "a b")))
    first = PageRequest(4, question="certificates")
    async with store.reading() as work:
        page = await work.page(ReusableCertificate, first)
    assert [item.name for item in page.items] == ["B", "Z", "a", "a b"]
    assert page.next_token == first.next_token(("a b",))
    assert await names(store, ReusableCertificate, PageRequest(4, ("a b",))) == ["b", "ä"]


async def test_a_page_shows_one_kind(store: ReadableStore) -> None:
    await put(store, *everything())
    assert await names(store, SettingsPolicy, PageRequest(10)) == ["slow", "workstations"]
    assert await names(store, RulesPolicy, PageRequest(10)) == ["tools"]


async def test_the_last_page_has_no_next_one(store: ReadableStore) -> None:
    await put(store, stored(reusable("a")), stored(reusable("b")))
    async with store.reading() as work:
        page = await work.page(ReusableCertificate, PageRequest(2))
    assert (len(page.items), page.next_token) == (2, "")


async def test_pages_are_narrowed_by_tags_before_they_are_cut(store: ReadableStore) -> None:
    tagged = {"a": ["emea"], "b": ["apac"], "c": ["apac", "emea"], "d": ["EMEA"], "e": ["emea"]}
    await put(store, *(stored(reusable(name), *tags) for name, tags in tagged.items()))
    assert await names(store, ReusableCertificate, PageRequest(2), frozenset({"emea"})) == ["a", "c"]
    assert await names(store, ReusableCertificate, PageRequest(9), frozenset({"emea", "apac"})) == ["a", "b", "c", "e"]
    assert await names(store, ReusableCertificate, PageRequest(9), frozenset({"emea%"})) == []


@pytest.mark.parametrize(
    ("by", "names"), [(Sorting.NAME, "abcde"), (Sorting.UPDATED, "ecabd"), (Sorting.REVISION, "dabec")]
)
@pytest.mark.parametrize("descending", [False, True])
async def test_pages_follow_one_another_in_every_order(
    store: ReadableStore, by: Sorting, names: str, *, descending: bool
) -> None:
    facts = {"a": (2, 3), "b": (2, 3), "c": (1, 5), "d": (3, 1), "e": (0, 4)}
    for name, (moment, revision) in facts.items():
        await put(store, stored(reusable(name), revision=revision, now=NOW + timedelta(microseconds=moment)))
    selection = Selection(order=Order(by, descending=descending))
    for size in (1, 2, 4):
        found, request = "", PageRequest(size)
        async with store.reading() as work:
            while True:
                page = await work.page(ReusableCertificate, request, selection)
                found += "".join(item.name for item in page.items)
                if not page.next_token:
                    break
                request = page_request(page_size=size, page_token=page.next_token, shape=selection.order.shape)
        assert found == (names[::-1] if descending else names)


async def test_pages_hold_only_what_passes_the_test_and_are_full(store: ReadableStore) -> None:
    await put(store, *(stored(reusable(f"c{number:03}"), "emea") for number in range(250)))
    selection = Selection(frozenset({"emea"}), lambda item: item.name.endswith("9"))
    async with store.reading() as work:
        first = await work.page(ReusableCertificate, PageRequest(24), selection)
        rest = await work.page(ReusableCertificate, PageRequest(24, ("c239",)), selection)
    assert [item.name for item in first.items] == [f"c{number:02}9" for number in range(24)]
    assert first.next_token == PageRequest(24).next_token(("c239",))
    assert [item.name for item in rest.items] == ["c249"]
    assert rest.next_token == ""


async def test_a_page_that_is_just_full_is_the_last_if_nothing_else_passes(store: ReadableStore) -> None:
    await put(store, *(stored(reusable(f"c{number:03}")) for number in range(130)))
    selection = Selection(matches=lambda item: item.name in {"c000", "c120"})
    async with store.reading() as work:
        page = await work.page(ReusableCertificate, PageRequest(2), selection)
    assert ([item.name for item in page.items], page.next_token) == (["c000", "c120"], "")


async def test_what_a_call_was_answered_is_kept_for_its_caller(store: ReadableStore) -> None:
    made = KeptAnswer(b"digest", b"answer", NOW)
    async with store.writing() as work:
        await work.requests.keep("user:alice", "id-1", made, oldest=NOW - timedelta(days=1))
    async with store.reading() as work:
        assert await work.requests.find("user:alice", "id-1") == made
        assert await work.requests.find("user:bob", "id-1") is None
        assert await work.requests.find("user:alice", "ID-1") is None


async def test_an_answer_takes_the_place_of_an_older_one_and_old_ones_are_dropped(store: ReadableStore) -> None:
    times = {"old": NOW - timedelta(days=1), "young": NOW - timedelta(hours=23), "same": NOW - timedelta(hours=1)}
    for name, time in times.items():
        async with store.writing() as work:
            kept = KeptAnswer(b"", name.encode(), time)
            await work.requests.keep("user:alice", name, kept, oldest=NOW - timedelta(days=9))
    new = KeptAnswer(b"new", b"", NOW)
    async with store.writing() as work:
        await work.requests.keep("user:alice", "same", new, oldest=NOW - timedelta(days=1))
    async with store.reading() as work:
        found = [await work.requests.find("user:alice", name) for name in times]
    assert found == [None, KeptAnswer(b"", b"young", times["young"]), new]


async def test_an_answer_shares_the_fate_of_its_transaction(store: ReadableStore) -> None:
    async def keep_and_fail() -> None:
        async with store.writing() as work:
            await work.requests.keep("user:alice", "id", KeptAnswer(b"", b"", NOW), oldest=NOW)
            raise LookupError

    with pytest.raises(LookupError):
        await keep_and_fail()
    async with store.reading() as work:
        assert await work.requests.find("user:alice", "id") is None


async def test_of_calls_under_one_identifier_at_once_one_writes_and_all_get_its_answer(store: ReadableStore) -> None:
    at = desk_at(store)
    answers = await asyncio.gather(*(at.create_once(settings_policy(), "id-1") for _ in range(8)))
    assert len(set(answers)) == 1
    async with store.reading() as work:
        assert await work.revision() == 1


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


async def test_a_page_stays_below_the_limit_on_a_message(
    tmp_path: Path,
) -> None:
    bulky = tuple(replace(rule(f"rule-{number}"), arguments=("x" * 8000,) * 9) for number in range(20))
    async with opened(f"sqlite:///{tmp_path / 'policy.db'}") as database:
        store = SqlStore(database)
        await put(store, *(stored(rules_policy(f"bulky-{number}", *bulky)) for number in range(4)))
        request = PageRequest(50)
        async with store.reading() as work:
            page = await work.page(RulesPolicy, request)
        assert [item.name for item in page.items] == ["bulky-0", "bulky-1"]
        assert page.next_token == request.next_token(("bulky-1",))
        assert await names(store, RulesPolicy, PageRequest(50, ("bulky-1",))) == ["bulky-2", "bulky-3"]
    assert LARGEST_PAGE < MESSAGE_LIMIT


async def test_labels_and_tags_count_towards_the_limit_on_a_message(tmp_path: Path) -> None:
    async with opened(f"sqlite:///{tmp_path / 'policy.db'}") as database:
        store = SqlStore(database)
        labels = {f"l{number}": "ä" * 8000 for number in range(100)}
        for name in "abc":
            item = stored(reusable(name), *(f"{number}" * 100 for number in range(100)))
            await put(store, replace(item, about=replace(item.about, labels=labels)))
        assert await names(store, ReusableCertificate, PageRequest(50)) == ["a"]
        assert await names(store, ReusableCertificate, PageRequest(50, ("a",))) == ["b"]


async def test_content_that_this_version_does_not_know_is_not_read(tmp_path: Path) -> None:
    async with opened(f"sqlite:///{tmp_path / 'policy.db'}") as database:
        await put(SqlStore(database), stored(settings_policy()))
        async with database.transaction() as tx:
            kept: bytes = (await tx.execute(sa.select(OBJECT.c.content))).scalar_one()
            await tx.execute(sa.update(OBJECT).values(content=kept + UNKNOWN_FIELD))
        with pytest.raises(ValueError, match="newer version"):
            await SqlStore(database).corpus()


async def test_of_two_who_create_the_same_at_once_one_is_refused(database_url: str) -> None:
    async with opened(database_url) as database:
        at = desk_at(SqlStore(database))
        outcomes = await asyncio.gather(
            *(at.create(settings_policy(description=text)) for text in ("one", "other")), return_exceptions=True
        )
        assert [type(outcome) for outcome in outcomes if isinstance(outcome, Exception)] == [ConflictError]
        assert await database.current_revision() == 1


async def test_of_two_who_edit_at_once_at_two_servers_one_wins_and_the_other_learns_the_etag(database_url: str) -> None:
    async with opened(database_url) as database, opened(database_url) as other:
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
    async with opened(database_url) as database, opened(database_url) as other:
        desks = [desk_at(SqlStore(opened_here)) for opened_here in (database, other)]
        answers = await asyncio.gather(*(at.create_once(settings_policy(), "id") for at in (*desks, *desks)))
        assert answers == ["1"] * 4
        assert await database.current_revision() == 1


async def test_a_certificate_is_not_deleted_while_a_rule_begins_to_name_it(database_url: str) -> None:
    async with opened(database_url) as database:
        at = desk_at(SqlStore(database))
        await at.create(reusable())
        await asyncio.gather(
            at.create(rules_policy("tools", rule(reusable="vendor"))),
            at.delete(ReusableCertificate, "vendor"),
            return_exceptions=True,
        )
        corpus = await SqlStore(database).corpus()
        assert bool(corpus.rules_policies) == bool(corpus.certificates)


async def test_the_migrations_make_the_tables_that_the_code_declares(database_url: str) -> None:
    async with opened(database_url) as database:
        assert await differences(database, METADATA) == []


async def test_migrating_again_changes_nothing(database_url: str) -> None:
    async with opened(database_url) as database:
        await put(SqlStore(database), stored(reusable()))
        await upgrade(database)
        assert await database.current_revision() == 1
