"""Administrators who act at the same moment through two replicas of the rbac service, on SQLite and on PostgreSQL."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
import sqlalchemy as sa

from epm.rbac.v1 import rbac_pb2
from services._chassis.access import OWNER
from services._chassis.db import Database
from services._chassis.errors import ServiceError
from services._chassis.migrate import upgrade
from services.rbac import usecases
from services.rbac.model.documents import document_of
from services.rbac.model.nouns import AccessObject, AccessState, Actor, PrincipalGroup, Role, Token
from services.rbac.store import AUDIT, SqlStore
from tests.builders.rbac import assignment, role
from tests.builders.refusals import read_refusal
from tests.builders.whole import Metadata, Whole, whole
from tests.fakes.clock import NOW

ROUNDS = 5
OWNER_ACTOR = Actor("user:root")


@dataclass
class Replicas:
    """Two processes on one database."""

    databases: Sequence[Database]

    @property
    def stores(self) -> list[SqlStore]:
        return [SqlStore(database) for database in self.databases]

    async def put(self, *items: AccessObject | Token) -> None:
        async with self.stores[0].writing() as work:
            for item in items:
                await work.put(item)

    async def state(self) -> AccessState:
        return (await usecases.read_state(self.stores[1]))[0]

    async def audited(self, target: str) -> list[Any]:
        async with self.databases[0].read() as tx:
            query = sa.select(AUDIT).where(AUDIT.c.target == target).order_by(AUDIT.c.revision)
            return list((await tx.execute(query)).all())


@pytest.fixture
async def replicas(database_url: str) -> AsyncIterator[Replicas]:
    async with AsyncExitStack() as held:
        databases = []
        for _ in range(2):
            database = await Database.connect(database_url, service="rbac")
            held.push_async_callback(database.close)
            await upgrade(database)
            databases.append(database)
        yield Replicas(databases)


async def race(*calls: Awaitable[object]) -> list[str]:
    """Make the calls at the same moment; return how each was refused, "" for those that were not, sorted."""
    found = await asyncio.gather(*calls, return_exceptions=True)
    unforeseen = [one for one in found if isinstance(one, BaseException) and not isinstance(one, ServiceError)]
    assert unforeseen == []
    return sorted(one.reason if isinstance(one, ServiceError) else "" for one in found)


def applied(store: SqlStore, *items: AccessObject, by: Actor = OWNER_ACTOR) -> Awaitable[object]:
    return usecases.apply_access(store, items, actor=by, now=NOW, validate_only=False)


async def test_of_two_owners_who_remove_each_other_one_stays(replicas: Replicas) -> None:
    ann, bob = replicas.stores
    for _ in range(ROUNDS):
        await replicas.put(assignment("ann", OWNER, "user:ann"), assignment("bob", OWNER, "user:bob"))
        found = await race(
            usecases.delete_role_assignment(ann, "bob", actor=Actor("user:ann"), now=NOW),
            usecases.delete_role_assignment(bob, "ann", actor=Actor("user:bob"), now=NOW),
        )
        assert found == ["", "LAST_OWNER"]
        assert len((await replicas.state()).role_assignments) == 1


async def test_over_tls_too_one_owner_stays(tmp_path: Path) -> None:
    async with whole(tmp_path) as house:
        ann, bob = await house.hire("ann", OWNER), await house.hire("bob", OWNER)
        first = rbac_pb2.DeleteRoleAssignmentRequest(name="owner")
        await house.rbac.DeleteRoleAssignment(first, metadata=house.owner)
        calls = [
            house.rbac.DeleteRoleAssignment(rbac_pb2.DeleteRoleAssignmentRequest(name=other), metadata=me)
            for me, other in ((ann, "bob"), (bob, "ann"))
        ]
        found = await asyncio.gather(*calls, return_exceptions=True)
        (refused,) = [one for one in found if isinstance(one, grpc.aio.AioRpcError)]
        assert read_refusal(refused).reason in (
            "LAST_OWNER",
            "RIGHT_MISSING",
        )  # the latter where the door heard already
        owners = [await refusal_or_none(house, who) for who in (ann, bob)]
        assert sorted(owners) == ["", "RIGHT_MISSING"]


async def refusal_or_none(house: Whole, who: Metadata) -> str:
    try:
        await house.rbac.ListRoles(rbac_pb2.ListRolesRequest(), metadata=who)
    except grpc.aio.AioRpcError as error:
        return read_refusal(error).reason
    return ""


async def test_of_two_owners_who_leave_at_the_same_moment_one_stays(replicas: Replicas) -> None:
    ann, bob = replicas.stores
    for _ in range(ROUNDS):
        await replicas.put(assignment("ann", OWNER, "user:ann"), assignment("bob", OWNER, "user:bob"))
        found = await race(
            usecases.delete_role_assignment(ann, "ann", actor=Actor("user:ann"), now=NOW),
            applied(bob, assignment("bob", OWNER, "user:bob", expires=NOW + timedelta(days=1)), by=Actor("user:bob")),
        )
        assert found == ["", "LAST_OWNER"]


async def test_of_two_owners_who_write_each_other_out_of_one_assignment_one_stays(replicas: Replicas) -> None:
    ann, bob = replicas.stores
    await replicas.put(assignment("owners", OWNER, "user:ann", "user:bob"))
    found = await race(
        applied(ann, assignment("owners", OWNER, "user:ann"), by=Actor("user:ann")),
        applied(bob, assignment("owners", OWNER, "user:bob"), by=Actor("user:bob")),
    )
    assert found == ["", "GRANT_EXCEEDS_OWN_RIGHTS"]
    assert len((await replicas.state()).role_assignments["owners"].members) == 1


async def test_changes_at_the_same_moment_are_all_made_one_after_another(replicas: Replicas) -> None:
    await replicas.put(assignment("root", OWNER, "user:root"))
    roles = [Role("shared", f"number {number}", frozenset({"devices.read"})) for number in range(8)]
    others = [role(f"r{number}", "devices.read") for number in range(8)]
    calls = [applied(replicas.stores[n % 2], roles[n], others[n]) for n in range(8)]
    assert await race(*calls) == [""] * 8
    state = await replicas.state()
    assert {one.name for one in others} <= state.roles.keys()
    told = await replicas.audited("shared")
    assert len({one.revision for one in told}) == 8
    assert [one.before for one in told[1:]] == [one.after for one in told[:-1]]
    assert json.loads(told[-1].after) == document_of(state.roles["shared"])


async def test_a_token_that_many_revoke_is_revoked_once(replicas: Replicas) -> None:
    token = Token(token_id="t1", digest=b"\x01" * 32, principal="user:ann", description="", created=NOW)
    await replicas.put(token)
    moments = [NOW + timedelta(seconds=number) for number in range(8)]
    found = await asyncio.gather(
        *(usecases.revoke_token(replicas.stores[n % 2], "t1", now=moment) for n, moment in enumerate(moments))
    )
    assert len({revoked.revoked for revoked, _ in found}) == 1
    assert [one.action for one in await replicas.audited("t1")] == ["token_revoked"]


async def test_of_two_owners_who_revoke_each_others_last_token_one_can_still_log_in(replicas: Replicas) -> None:
    names = ("ann", "bob")
    await replicas.put(*(assignment(name, OWNER, f"user:{name}") for name in names))
    for number in range(ROUNDS):
        tokens = [
            Token(token_id=name, digest=name.encode(), principal=f"user:{name}", description="", created=NOW)
            for name in names
        ]
        await replicas.put(*tokens)
        calls = (
            usecases.revoke_token(store, name, now=NOW) for store, name in zip(replicas.stores, names, strict=True)
        )
        assert await race(*calls) == ["", "LAST_OWNER"], number
        assert [token.revoked for token in (await replicas.state()).tokens.values()].count(None) == 1


async def test_no_role_is_deleted_under_the_hands_of_who_assigns_it(replicas: Replicas) -> None:
    await replicas.put(assignment("root", OWNER, "user:root"))
    for number in range(ROUNDS):
        await replicas.put(role(f"r{number}", "devices.read"))
        first, second = replicas.stores
        found = await race(
            usecases.delete_role(first, f"r{number}", now=NOW),
            applied(second, assignment(f"a{number}", f"r{number}", "user:ann")),
        )
        assert found in (["", "ROLE_IN_USE"], ["", "INVALID_INPUT"]), found
    state = await replicas.state()
    assert {one.role for one in state.role_assignments.values()} <= state.roles.keys()


async def test_two_groups_do_not_become_a_cycle_in_one_moment(replicas: Replicas) -> None:
    await replicas.put(assignment("root", OWNER, "user:root"))
    for _ in range(ROUNDS):
        await replicas.put(PrincipalGroup("g1", frozenset()), PrincipalGroup("g2", frozenset()))
        first, second = replicas.stores
        found = await race(
            applied(first, PrincipalGroup("g1", frozenset({"group:g2"}))),
            applied(second, PrincipalGroup("g2", frozenset({"group:g1"}))),
        )
        assert found == ["", "INVALID_INPUT"]
