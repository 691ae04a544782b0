"""What every store of authored objects does with their history: in memory, on SQLite and on PostgreSQL."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from elevation.model import ReusableCertificate, RulesPolicy, SettingsPolicy
from services._chassis.db import Database
from services._chassis.errors import ConflictError, InvalidError, ServiceError
from services._chassis.expected import Expected
from services._chassis.paging import PageRequest
from services.policy.model.application import Deletion
from services.policy.model.drafts import NewAssignments
from services.policy.model.objects import Action, Change, Stored
from services.policy.model.revisions import Past, Revision
from services.policy.ports import Store
from services.policy.store.objects import SqlStore
from services.policy.store.tables import AUDIT, HISTORY
from services.policy.usecases import authoring
from services.policy.usecases.scope import CREATE
from tests.builders.applying import applied, deleting, expecting, revision_at, revisions_of, rolled_back
from tests.builders.authoring import Desk, desk_at
from tests.builders.policy import creation, deletion, included, reusable, rule, rules_policy, settings_policy, stored
from tests.builders.policy_database import policy_database
from tests.fakes.clock import NOW

LATER = NOW + timedelta(hours=1)
FIRST, SECOND = stored(settings_policy(), "emea"), stored(settings_policy(enabled=False), "apac", revision=2)


async def lived(store: Store) -> None:
    """Create, change and delete a policy."""
    about = replace(SECOND.about, created_by="user:alice")
    changed = Change(
        before=FIRST,
        after=Stored(SECOND.content, about),
        revision=2,
        actor="user:bob",
        now=LATER,
        reason="ticket ü",
        rolled_back_to=1,
        as_code=True,
    )
    for change in (creation(FIRST), changed, deletion(SECOND, 3)):
        async with store.writing() as work:
            await work.next_revision()
            await work.save(change)


async def past(store: Store, change: int) -> Past[SettingsPolicy]:
    async with store.reading() as work:
        found = await work.history.at(SettingsPolicy, "workstations", change)
    assert found is not None
    return found


async def test_a_revision_comes_back_as_it_went_in(policy_store: Store) -> None:
    await lived(policy_store)
    found = await past(policy_store, 2)
    assert found.revision == Revision(
        change=2,
        content_revision=2,
        action=Action.UPDATED,
        author="user:bob",
        time=LATER,
        reason="ticket ü",
        scope_tags=frozenset({"apac"}),
        rolled_back_to=1,
        as_code=True,
    )
    assert found.stored.content == SECOND.content
    about = replace(SECOND.about, etag="", updated=LATER, updated_by="user:bob", created=NOW, created_by="user:alice")
    assert found.stored.about == about
    gone = await past(policy_store, 3)
    assert (gone.deleted, gone.stored.content) == (True, SECOND.content)
    assert gone.revision.scope_tags == {"apac"}


async def test_the_newest_state_and_the_one_before_are_found(policy_store: Store) -> None:
    await lived(policy_store)
    async with policy_store.reading() as work:
        history = work.history
        found = [await history.newest(SettingsPolicy, "workstations", before=before) for before in (None, 3, 2, 1)]
        others = [await history.newest(RulesPolicy, "workstations"), await history.newest(SettingsPolicy, "\x00")]
        never = [await history.at(SettingsPolicy, "workstations", change) for change in (0, 4, 2**63 - 1)]
    assert [each and each.revision.change for each in found] == [3, 2, 1, None]
    assert others + never == [None] * 5


async def test_pages_hold_the_revisions_of_one_object_newest_first(policy_store: Store) -> None:
    await lived(policy_store)
    async with policy_store.writing() as work:
        await work.save(creation(stored(rules_policy("workstations"), revision=await work.next_revision())))
    request = PageRequest(2, question="revisions")
    async with policy_store.reading() as work:
        first = await work.history.page(SettingsPolicy, "workstations", request)
        rest = await work.history.page(SettingsPolicy, "workstations", replace(request, after=(2,)))
        nobody = await work.history.page(SettingsPolicy, "\x00", request)
    assert [each.change for each in first.items] == [3, 2]
    assert first.next_token == request.next_token((2,))
    assert ([each.change for each in rest.items], rest.next_token) == ([1], "")
    assert nobody.items == ()


async def test_what_is_as_code_is_remembered_without_a_new_etag_or_revision(policy_store: Store) -> None:
    at = desk_at(policy_store)
    await applied(at, reusable(), settings_policy())
    await applied(at, reusable(), settings_policy(enabled=False), as_code=True)
    certificate, policy = await at.read(ReusableCertificate, "vendor"), await at.read(SettingsPolicy, "workstations")
    assert (certificate.about.etag, certificate.about.applied_change) == ("1", 1)
    assert (policy.about.etag, policy.about.applied_change) == ("2", 2)
    assert [each.change for each in await revisions_of(at, ReusableCertificate, "vendor")] == [1]
    assert [each.as_code for each in await revisions_of(at, SettingsPolicy, "workstations")] == [True, False]
    await applied(at, reusable(), settings_policy(enabled=False), as_code=True)
    async with policy_store.reading() as work:
        assert await work.revision() == 2


async def test_the_policies_that_name_any_of_some_certificates_are_known(policy_store: Store) -> None:
    at = desk_at(policy_store)
    first, second = rules_policy("first", rule(reusable="a")), rules_policy("second", rule(reusable="b"))
    await applied(at, reusable("a"), reusable("b"), reusable("c"), first, second)
    async with policy_store.reading() as work:
        assert [each.name for each in await work.naming("a", "b", "c")] == ["first", "second"]
        assert [each.name for each in await work.naming("b")] == ["second"]
        assert list(await work.naming("c")) == []


async def rows(database: Database) -> Sequence[dict[str, Any]]:
    async with database.read() as tx:
        asked = sa.select(HISTORY).order_by(HISTORY.c.revision, HISTORY.c.kind, HISTORY.c.name)
        return [dict(row) for row in (await tx.execute(asked)).mappings()]


async def duplicate(at: Desk[SqlStore]) -> object:
    async with at.store.writing() as work:
        return await authoring.duplicate_object(
            work, at.means, SettingsPolicy, "workstations", new_name="like it", author=at.author("root", CREATE)
        )


TOOLS = rules_policy("tools", rule(reusable="vendor"))
ASSIGNED = NewAssignments(name="tools", etag="", assignments=included("developers"))
CHANGES: Sequence[tuple[int, Callable[[Desk[SqlStore]], Awaitable[object]]]] = (
    (1, lambda at: at.create(reusable())),
    (1, lambda at: at.create(TOOLS)),
    (1, lambda at: at.update(reusable(pem="vendor-renewed"), etag="1")),
    (0, lambda at: at.update(reusable(pem="vendor-renewed"), etag="1")),
    (1, lambda at: at.assign(RulesPolicy, ASSIGNED)),
    (2, lambda at: applied(at, settings_policy(), rules_policy("tools", rule()), as_code=True)),
    (0, lambda at: applied(at, settings_policy(), rules_policy("tools", rule()), as_code=True)),
    (0, lambda at: applied(at, settings_policy("other"), validate_only=True)),
    (0, lambda at: applied(at, reusable(pem="vendor-renewed"), as_code=True, validate_only=True)),
    (0, lambda at: applied(at, deletions=deleting(settings_policy()), validate_only=True)),
    (1, duplicate),
    (1, lambda at: rolled_back(at, RulesPolicy, "tools", 2)),
    (0, lambda at: rolled_back(at, RulesPolicy, "tools", 2)),
    (0, lambda at: at.delete(ReusableCertificate, "vendor")),
    (2, lambda at: applied(at, deletions=deleting(TOOLS, reusable()))),
    (1, lambda at: rolled_back(at, ReusableCertificate, "vendor", 1)),
    (1, lambda at: at.delete(SettingsPolicy, "like it")),
    (0, lambda at: at.delete(SettingsPolicy, "like it")),
    (1, lambda at: at.keep(settings_policy("like it"))),
)
"""Every verb that writes, with the revisions that it makes; some are refused, or find their work done."""


async def test_every_change_adds_its_revisions_and_none_is_ever_altered(database_url: str) -> None:
    async with policy_database(database_url) as database:
        at, known = desk_at(SqlStore(database)), list[dict[str, Any]]()
        for count, change in CHANGES:
            try:
                await change(at)
            except ServiceError:
                assert count == 0
            now = await rows(database)
            assert now[: len(known)] == known
            assert len(now) == len(known) + count
            assert len({row["revision"] for row in now[len(known) :]}) == bool(count)
            known = list(now)
        async with database.read() as tx:
            assert (await tx.execute(sa.text("SELECT count(*) FROM policy_audit"))).scalar_one() == len(known)


async def test_the_audit_record_tells_of_rollbacks_of_originals_and_of_what_came_as_code(database_url: str) -> None:
    async with policy_database(database_url) as database:
        at = desk_at(SqlStore(database))
        await applied(at, settings_policy())
        await applied(at, settings_policy(enabled=False), as_code=True)
        await rolled_back(at, SettingsPolicy, "workstations", 1)
        await duplicate(at)
        async with database.read() as tx:
            found = list((await tx.execute(sa.select(AUDIT.c.details).order_by(AUDIT.c.sequence))).scalars())
        assert found[:3] == ["{}", '{"as_code":"true"}', '{"rolled_back_to":"1"}']
        assert found[3:] == ['{"duplicate_of":"workstations"}']


async def test_a_call_about_more_than_a_database_can_be_asked_for_at_once_is_refused_with_the_limit(
    database_url: str,
) -> None:
    deletions = [Deletion("ElevationRulesPolicy", f"p{number}") for number in range(70_000)]
    async with policy_database(database_url) as database:
        at = desk_at(SqlStore(database))
        with pytest.raises(InvalidError, match="at most 10000"):
            await applied(at, deletions=deletions)
        expected = [Expected("ElevationRulesPolicy", f"e{number}", "") for number in range(10_000)]
        assert len((await applied(at, deletions=deletions[:10_000], expected=expected)).objects) == 10_000


async def test_of_two_applies_of_the_same_plan_at_once_one_wins_and_the_other_learns_why(database_url: str) -> None:
    async with policy_database(database_url) as database:
        at = desk_at(SqlStore(database))
        at.hire("emil")
        at.hire("anna")
        await applied(at, settings_policy())
        expected = [expecting(settings_policy(), "1")]
        outcomes = await asyncio.gather(
            applied(at, settings_policy(description="his"), by="emil", expected=expected),
            applied(at, settings_policy(description="hers"), by="anna", expected=expected),
            return_exceptions=True,
        )
        (refused,) = [outcome for outcome in outcomes if isinstance(outcome, ConflictError)]
        kept = await at.read(SettingsPolicy, "workstations")
        assert f"was changed by {kept.about.updated_by}" in refused.message
        assert (kept.about.change, refused.stale) == (2, True)


async def test_revisions_with_many_long_tags_come_in_pages_that_fit(tmp_path: Path) -> None:
    tags = [f"{number:03}" * 40 for number in range(100)]
    async with policy_database(f"sqlite:///{tmp_path / 'policy.db'}") as database:
        at = desk_at(SqlStore(database))
        async with at.store.writing() as work:
            for number in range(1, 300):
                item = stored(reusable(), *tags, revision=number)
                await work.history.add(creation(item))
        async with at.store.reading() as work:
            page = await work.history.page(ReusableCertificate, "vendor", PageRequest(1000))
        assert 200 < len(page.items) < 299
        assert page.next_token


async def test_a_revision_tells_what_the_live_object_said(policy_store: Store) -> None:
    at = desk_at(policy_store)
    await applied(at, TOOLS, reusable())
    live = await at.read(RulesPolicy, "tools")
    told = (await revision_at(at, RulesPolicy, "tools")).stored
    assert told == replace(live, about=replace(live.about, etag=""))


@pytest.mark.parametrize("change", [1, 2])
async def test_a_rolled_back_object_is_kept(policy_store: Store, change: int) -> None:
    at = desk_at(policy_store)
    await applied(at, settings_policy(description="first"))
    await applied(at, settings_policy(description="second"))
    restored = await rolled_back(at, SettingsPolicy, "workstations", change)
    assert await at.read(SettingsPolicy, "workstations") == restored
    newest, *_ = await revisions_of(at, SettingsPolicy, "workstations")
    assert newest.rolled_back_to == (1 if change == 1 else 0)
