"""Random histories of roles, groups, assignments, tokens and time, each state compared with an evaluator of its own."""

import asyncio
import itertools
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from copy import deepcopy
from dataclasses import replace
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from services._chassis.access import AccessControl, CompiledAccess
from services._chassis.access_client import snapshot_from_proto, snapshot_to_proto
from services._chassis.db import Database
from services._chassis.errors import DeniedError, ServiceError, UnauthenticatedError
from services._chassis.migrate import upgrade
from services.rbac import usecases
from services.rbac.model.builtin import BUILT_IN_ROLES
from services.rbac.model.explanations import Query, explain
from services.rbac.model.grants import snapshot_of
from services.rbac.model.nouns import AccessObject, Actor, PrincipalGroup, Role, RoleAssignment, ScopeTag
from services.rbac.model.questions import Asked, holders
from services.rbac.ports import Store
from services.rbac.store import SqlStore
from tests.builders.rbac import OWNERS, assignment
from tests.fakes.clock import FakeClock
from tests.fakes.rbac import MemoryStore
from tests.reference import access as reference
from tests.reference.access import Given, Issued, World

HOUR = timedelta(hours=1)
MOMENT = timedelta(microseconds=1)
PEOPLE = ("user:owner", "user:ann", "user:bob", "user:cid")
CUSTOM = ("r1", "r2", "r3")
RIGHTS = ("policy_authoring.read", "policy_authoring.assign", "devices.read", "roles.assign", "tokens.create")
ROLES = (*CUSTOM, "r1", "r2", "Owner", "Role Administrator", "Auditor")
GROUPS = ("g1", "g2", "g3")
NAMES = ("a1", "a2", "a2", "a3", "a3", "owner")
TARGETS = ("laptops", "kiosks", "all-devices")
TAGS = ("emea", "apac", "default")
ACTORS = st.sampled_from([*PEOPLE, "user:owner", "user:owner", "user:ann"])
ROLES_AT_FIRST = {"r1": frozenset(RIGHTS[:2]), "r2": frozenset(RIGHTS), "r3": frozenset(RIGHTS[2:])}
GROUPS_AT_FIRST = {
    "g1": frozenset({"user:ann"}),
    "g2": frozenset({"user:bob", "group:g1"}),
    "g3": frozenset({"user:cid"}),
}
ENDS = st.sampled_from([None, None, HOUR, 2 * HOUR, 5 * HOUR])
OBJECTS = tuple(map(frozenset, ((), ("emea",), ("apac",), ("emea", "apac"), ("default",))))
AIMS = tuple(map(frozenset, ((), ("laptops",), ("laptops", "kiosks"), ("all-devices",))))
NONE: frozenset[str] = frozenset()
QUESTIONS = tuple(itertools.product(PEOPLE, RIGHTS, OBJECTS, AIMS))


def subset(names: tuple[str, ...], most: int = 3) -> st.SearchStrategy[frozenset[str]]:
    return st.frozensets(st.sampled_from(names), max_size=most)


def members(least: int) -> st.SearchStrategy[frozenset[str]]:
    return st.frozensets(st.sampled_from([*PEOPLE, "group:g1", "group:g2", "group:g3"]), min_size=least, max_size=2)


GIVEN = st.builds(
    Given,
    role=st.sampled_from(ROLES),
    members=members(1),
    groups=subset(TARGETS, 2),
    tags=subset(TAGS, 2),
)


def digest_of(number: int) -> bytes:
    return sha256(str(number).encode()).digest()


class Histories(RuleBasedStateMachine):
    """Change access as anybody, believe what was not refused, and ask everything after each step."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock = FakeClock()
        self.store: Store = self.runner.run(self.open())
        self.world = World(roles={name: role.rights for name, role in BUILT_IN_ROLES.items() if name != "Owner"})
        self.control = AccessControl(self.clock, bound=timedelta(days=10_000))
        self.revision = -1
        self.asked: tuple[World, datetime] | None = None
        self.numbers = itertools.count(1)

    async def open(self) -> Store:
        return MemoryStore()

    @property
    def now(self) -> datetime:
        return self.clock.now()

    @initialize()
    def begin(self) -> None:
        async def put() -> None:
            async with self.store.writing() as work:
                await work.put(OWNERS)
                await work.put(assignment("a1", "r2", "group:g1"))
                for tag in TAGS:
                    await work.put(ScopeTag(tag))
                for name, rights in ROLES_AT_FIRST.items():
                    await work.put(Role(name, "", rights))
                for name, members in GROUPS_AT_FIRST.items():
                    await work.put(PrincipalGroup(name, members))

        self.runner.run(put())
        self.world.given["owner"] = Given("Owner", frozenset({"user:owner"}))
        self.world.given["a1"] = Given("r2", frozenset({"group:g1"}))
        self.world.roles.update(ROLES_AT_FIRST)
        self.world.groups.update(GROUPS_AT_FIRST)

    @rule(name=st.sampled_from(CUSTOM), rights=subset(RIGHTS), actor=ACTORS)
    def apply_role(self, name: str, rights: frozenset[str], actor: str) -> None:
        after = deepcopy(self.world)
        after.roles[name] = rights
        self.apply(Role(name, "", rights), actor, after, shaped=bool(rights))

    @rule(name=st.sampled_from(GROUPS), members=members(0), actor=ACTORS)
    def apply_group(self, name: str, members: frozenset[str], actor: str) -> None:
        after = deepcopy(self.world)
        after.groups[name] = members
        shaped = self.all_there(after, members) and not reference.goes_round(after)
        self.apply(PrincipalGroup(name, members), actor, after, shaped=shaped)

    @rule(name=st.sampled_from(NAMES), given=GIVEN, end=ENDS, actor=st.sampled_from(PEOPLE[1:]))
    def hand_on(self, name: str, given: Given, end: timedelta | None, actor: str) -> None:
        self.apply_assignment(name, given, end, actor)

    @rule(name=st.sampled_from(NAMES), given=GIVEN, end=ENDS, actor=ACTORS)
    def apply_assignment(self, name: str, given: Given, end: timedelta | None, actor: str) -> None:
        owner = given.role == "Owner"  # whose scope is everything
        given = replace(
            given,
            groups=NONE if owner else given.groups,
            tags=NONE if owner else given.tags,
            expires=self.now + end if end else None,
        )
        after = deepcopy(self.world)
        after.given[name] = given
        item = RoleAssignment(
            name=name,
            role=given.role,
            members=given.members,
            scope_groups=given.groups,
            scope_tags=given.tags,
            expires=given.expires,
        )
        known = given.role in {"Owner", *after.roles} and self.all_there(after, given.members)
        self.apply(item, actor, after, shaped=known and bool(given.members))

    @rule(name=st.sampled_from(CUSTOM))
    def delete_role(self, name: str) -> None:
        after = deepcopy(self.world)
        there = after.roles.pop(name, None) is not None
        used = any(given.role == name for given in self.world.given.values())
        self.change(lambda: usecases.delete_role(self.store, name, now=self.now), after, allowed=there and not used)

    @rule(name=st.sampled_from(GROUPS))
    def delete_group(self, name: str) -> None:
        after = deepcopy(self.world)
        there = after.groups.pop(name, None) is not None
        holders = [*self.world.groups.values(), *(given.members for given in self.world.given.values())]
        used = any(f"group:{name}" in members for members in holders)
        self.change(
            lambda: usecases.delete_principal_group(self.store, name, now=self.now), after, allowed=there and not used
        )

    @rule(name=st.sampled_from(NAMES), actor=ACTORS)
    def delete_assignment(self, name: str, actor: str) -> None:
        after = deepcopy(self.world)
        there = after.given.pop(name, None) is not None
        self.change(
            lambda: usecases.delete_role_assignment(self.store, name, actor=Actor(actor), now=self.now),
            after,
            allowed=self.allowed(actor, after, shaped=there),
            actor=actor,
        )

    @rule(principal=st.sampled_from(PEOPLE), end=st.sampled_from([HOUR, 3 * HOUR]), actor=ACTORS)
    def issue_token(self, principal: str, end: timedelta, actor: str) -> None:
        number = next(self.numbers)
        after = deepcopy(self.world)
        after.tokens[digest_of(number)] = Issued(principal, self.now + end)
        new = usecases.NewToken(
            token_id=f"t{number}",
            secret_digest=digest_of(number),
            principal=principal,
            description="",
            expires=self.now + end,
        )
        # Who speaks for a principal has its rights: they must be the actor's own.
        excess = self.excess(self.world, actor, people=(principal,))
        done = self.change(
            lambda: usecases.issue_token(self.store, new, actor=Actor(actor), now=self.now),
            after,
            allowed=True if reference.is_owner(self.world, actor, self.now) else None,
        )
        assert not (done and excess), excess

    @rule(number=st.integers(1, 6))
    def revoke_token(self, number: int) -> None:
        digest = digest_of(number)
        after = deepcopy(self.world)
        if digest in after.tokens:
            after.tokens[digest] = replace(after.tokens[digest], revoked=True)
        self.change(
            lambda: usecases.revoke_token(self.store, f"t{number}", now=self.now),
            after,
            allowed=digest in self.world.tokens and not self.locks_out(after),
        )

    @rule(by=st.sampled_from([timedelta(0), HOUR - timedelta(seconds=1), timedelta(seconds=1), HOUR, -HOUR]))
    def let_time_pass(self, by: timedelta) -> None:
        self.clock.advance(by)

    @invariant()
    @precondition(lambda self: self.asked != (self.world, self.now))
    def everybody_may_what_the_reference_says(self) -> None:
        access = self.compiled()
        self.asked = deepcopy(self.world), self.now
        for person, right, tags, groups in QUESTIONS:
            permit = access.permit(person, right, self.now)
            found = permit is not None and permit.sees(tags) and permit.may_target(groups, tags=tags)
            wanted = reference.may(self.world, person, right, self.now, tags=tags, groups=groups)
            assert found == wanted, (person, right, tags, groups)
            assert (permit is not None) == reference.has(self.world, person, right, self.now)
        ends = {given.expires for given in self.world.given.values() if given.expires}
        times = (self.now, *(end + step for end in sorted(ends) for step in (HOUR, -MOMENT, timedelta(), MOMENT)))
        for at, person, right in itertools.product(times, PEOPLE, RIGHTS):
            found = access.permit(person, right, at) is not None
            assert found == reference.has(self.world, person, right, at), (person, right, at)
        for person in PEOPLE:
            assert access.is_owner(person, self.now) == reference.is_owner(self.world, person, self.now)
        assert reference.lasting_owner(self.world, frozenset(PEOPLE)) or not self.world.given

    @invariant()
    def every_token_speaks_for_whom_the_reference_says(self) -> None:
        self.compiled()
        for digest in self.world.tokens:
            try:
                found = self.control.authenticate(digest).principal
            except UnauthenticatedError:
                found = None
            assert found == reference.speaks_for(self.world, digest, self.now)

    @rule(question=st.sampled_from(QUESTIONS))
    def ask_who_can_and_why(self, question: tuple[str, str, frozenset[str], frozenset[str]]) -> None:
        person, right, tags, groups = question
        access, asked = self.compiled(), Asked(tags, groups)
        found, after = set[tuple[str, str]](), None
        while page := holders(access, right, asked, self.now, after=after, most=2):
            pairs = [(one.principal, one.grant.assignment) for one in page]
            assert found.isdisjoint(pairs)
            found.update(pairs)
            after = pairs[-1]
        may = {one for one in PEOPLE if reference.may(self.world, one, right, self.now, tags=tags, groups=groups)}
        assert {one for one, _ in found if one.startswith("user:")} == may
        why = explain(access, Query(Actor(person), right, asked, strangers=True), self.now)
        assert why.allowed == (person in may), why
        granting = {
            name
            for name, given in self.world.given.items()
            if given in set(reference.granting(self.world, person, right, self.now))
            and reference.sees(given, tags)
            and (given.role == "Owner" or groups <= given.groups)
        }
        assert {step.grant.assignment for step in why.steps if not step.gaps} == granting, why

    def compiled(self) -> CompiledAccess:
        """Compile what a service gets to hear, once for each revision: what it keeps must hold as time passes."""
        state, revision = self.runner.run(usecases.read_state(self.store))
        if revision != self.revision:
            self.revision = revision
            self.control.replace(snapshot_from_proto(snapshot_to_proto(snapshot_of(state, revision))))
        return self.control.access()

    def apply(self, item: AccessObject, actor: str, after: World, *, shaped: bool) -> None:
        async def call() -> object:
            return await usecases.apply_access(
                self.store, [item], actor=Actor(actor), now=self.now, validate_only=False
            )

        self.change(call, after, allowed=self.allowed(actor, after, shaped=shaped), actor=actor)

    def allowed(self, actor: str, after: World, *, shaped: bool) -> bool | None:
        """Say whether the change has to be let through; None where only its effect can be judged."""
        if not shaped or not reference.lasting_owner(after, frozenset(PEOPLE)) or self.locks_out(after):
            return False
        return True if reference.is_owner(self.world, actor, self.now) else None

    def locks_out(self, after: World) -> bool:
        return reference.owner_comes_in(self.world, self.now) and not reference.owner_comes_in(after, self.now)

    def change(
        self, call: Callable[[], Awaitable[Any]], after: World, *, allowed: bool | None, actor: str = ""
    ) -> bool:
        """Make a change, and believe it if it was not refused."""
        error = self.runner.run(_refused(call()))
        assert allowed is None or allowed == (error is None), error
        assert allowed is False or error is None or isinstance(error, DeniedError), error
        if error is None:
            assert not actor or not self.excess(after, actor, had=self.world)
            self.world = after
        return error is None

    def excess(
        self, world: World, actor: str, *, had: World | None = None, people: tuple[str, ...] = PEOPLE
    ) -> list[tuple[object, ...]]:
        """Return what people may in the world, now or later, and the actor may not as things stand; but for what they had."""
        ends = {given.expires for given in world.given.values() if given.expires and given.expires > self.now}
        return [
            (person, right, tags, groups, at)
            for at in (self.now, *ends)
            for person, right, tags, groups in QUESTIONS
            if person in people
            and reference.may(world, person, right, at, tags=tags, groups=groups)
            and not (had and reference.may(had, person, right, at, tags=tags, groups=groups))
            and not reference.is_owner(self.world, actor, self.now)
            and not reference.may(self.world, actor, right, at, tags=tags, groups=groups)
        ]

    def all_there(self, world: World, members: frozenset[str]) -> bool:
        return all(member.startswith("user:") or member.removeprefix("group:") in world.groups for member in members)

    def teardown(self) -> None:
        self.runner.run(self.shut())
        self.runner.close()

    async def shut(self) -> None:
        """Keep nothing."""


async def _refused(call: Awaitable[Any]) -> ServiceError | None:
    """Make the call; return how it was refused, if it was."""
    try:
        await call
    except ServiceError as error:
        return error
    return None


class SqliteHistories(Histories):
    """The same on SQLite."""

    async def open(self) -> Store:
        self.folder = Path(tempfile.mkdtemp(prefix="openepm-history-"))
        path = self.folder / "rbac.db"
        self.database = await Database.connect(f"sqlite:///{path}", service="rbac")
        await upgrade(self.database)
        return SqlStore(self.database)

    async def shut(self) -> None:
        await self.database.close()
        shutil.rmtree(self.folder)


TestHistoriesInMemory = Histories.TestCase
TestHistoriesInMemory.settings = settings(max_examples=50, stateful_step_count=30)
TestHistoriesOnSqlite = SqliteHistories.TestCase
TestHistoriesOnSqlite.settings = settings(max_examples=8, stateful_step_count=20)
