"""Questions about access over real doors: what is answered, to whom, and how fresh it is."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from epm.access.v1 import queries_pb2, queries_pb2_grpc
from epm.rbac.v1 import rbac_pb2, rbac_pb2_grpc
from services._chassis.rights import RIGHTS
from services._chassis.server import ServiceParts
from services.rbac.__main__ import build
from services.rbac.servicer.queries import MOST_QUESTIONS, AccessQueryServicer
from tests.builders.doors import bearer, open_doors, settings_for
from tests.builders.migrated import put_databases
from tests.builders.refusals import Refusal, refusal_of
from tests.fakes.access import FakeAccess
from tests.fakes.clock import NOW, FakeClock

READ, ASSIGN, APPROVE = "policy_authoring.read", "policy_authoring.assign", "elevation_requests.modify"
END = NOW + timedelta(days=1)


def stamp(time: Any) -> Timestamp:
    made = Timestamp()
    made.FromDatetime(time)
    return made


def object_of(*, tags: Iterable[str] = (), groups: Iterable[str] = ()) -> queries_pb2.AccessObject:
    return queries_pb2.AccessObject(scope_tags=tags, groups=groups)


def question(
    principal: str = "", right: str = READ, asked: queries_pb2.AccessObject | None = None
) -> queries_pb2.AccessQuestion:
    return queries_pb2.AccessQuestion(principal=principal, right=right, object=asked)


@dataclass
class House:
    """Ask as anybody; as the Owner unless somebody else is named."""

    asking: Any
    changing: Any
    tokens: dict[str, str]
    clock: FakeClock

    async def ask(self, method: str, request: Any, *, as_: str = "owner") -> Any:
        return await getattr(self.asking, method)(request, metadata=bearer(self.tokens[as_]))

    async def refused(self, method: str, request: Any, *, as_: str = "owner") -> Refusal:
        return await refusal_of(self.ask(method, request, as_=as_))

    async def check(self, *asked: Any, as_: str = "owner") -> Any:
        return await self.ask("Check", queries_pb2.CheckRequest(question=question(*asked)), as_=as_)

    async def apply(self, **objects: Any) -> int:
        request = rbac_pb2.ApplyAccessRequest(**objects)
        answer = await self.changing.ApplyAccess(request, metadata=bearer(self.tokens["owner"]))
        return int(answer.revision)

    async def hire(self, name: str) -> None:
        request = rbac_pb2.IssueTokenRequest(principal=f"user:{name}")
        answer = await self.changing.IssueToken(request, metadata=bearer(self.tokens["owner"]))
        self.tokens[name] = answer.secret


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    clock = FakeClock()
    values: dict[str, Any] = {"access_bound": timedelta(days=1000)}
    put_databases(tmp_path)
    parts = await build(settings_for(tmp_path, **values), clock)
    async with open_doors(tmp_path, parts, clock=clock, **values) as doors, doors.public() as channel:
        owner = (tmp_path / "owner-token").read_text().strip()
        asking, changing = queries_pb2_grpc.AccessQueryServiceStub(channel), rbac_pb2_grpc.RbacServiceStub(channel)
        made = House(asking, changing, {"owner": owner}, clock)
        await made.apply(
            scope_tags=[rbac_pb2.ScopeTag(name="emea")],
            principal_groups=[
                rbac_pb2.PrincipalGroup(name="helpdesk", members=["group:tier2", "user:bob"]),
                rbac_pb2.PrincipalGroup(name="tier2", members=["user:ann"]),
            ],
            role_assignments=[
                rbac_pb2.RoleAssignment(
                    name="approvers",
                    role="Elevation Approver",
                    members=["group:helpdesk"],
                    scope_groups=["kiosks"],
                    scope_tags=["emea"],
                    expires=stamp(END),
                ),
                rbac_pb2.RoleAssignment(name="auditors", role="Auditor", members=["user:aud"]),
            ],
        )
        for name in ("ann", "aud", "nobody"):
            await made.hire(name)
        yield made


async def test_a_check_names_the_role_assignments_that_allow_it(house: House) -> None:
    kiosk = object_of(tags=["emea"], groups=["kiosks"])
    answer = await house.check("user:ann", APPROVE, kiosk)
    assert (answer.allowed, list(answer.role_assignments), answer.revision) == (True, ["approvers"], 5)
    for refused in (
        ("user:ann", ASSIGN, kiosk),
        ("user:ann", APPROVE, object_of(tags=["apac"], groups=["kiosks"])),
        ("user:ann", APPROVE, object_of(tags=["emea"], groups=["kiosks", "laptops"])),
        ("user:ann", APPROVE, object_of()),
        ("user:nobody", APPROVE, kiosk),
    ):
        answer = await house.check(*refused)
        assert (answer.allowed, list(answer.role_assignments)) == (False, [])


async def test_without_an_object_the_question_is_whether_the_right_counts_for_any(house: House) -> None:
    assert (await house.check("user:ann", APPROVE)).allowed
    assert not (await house.check("user:ann", ASSIGN)).allowed


async def test_what_expires_is_allowed_until_then(house: House) -> None:
    await house.hire("bob")
    assert (await house.check("", APPROVE, as_="bob")).allowed
    house.clock.advance(END - NOW)
    assert not (await house.check("", APPROVE, as_="bob")).allowed


ABOUT_SOMEBODY: dict[str, Callable[[str], Any]] = {
    "Check": lambda who: queries_pb2.CheckRequest(question=question(who)),
    "BatchCheck": lambda who: queries_pb2.BatchCheckRequest(questions=[question(), question(who)]),
    "ListAllowedScopes": lambda who: queries_pb2.ListAllowedScopesRequest(principal=who, right=READ),
    "ListRights": lambda who: queries_pb2.ListRightsRequest(principal=who),
    "Explain": lambda who: queries_pb2.ExplainRequest(question=question(who)),
}


@pytest.mark.parametrize("method", ABOUT_SOMEBODY)
async def test_everybody_asks_about_themselves_and_who_reads_roles_about_others(house: House, method: str) -> None:
    make = ABOUT_SOMEBODY[method]
    for asker, about in (("nobody", ""), ("nobody", "user:nobody"), ("aud", "user:ann"), ("aud", "user:ghost")):
        await house.ask(method, make(about), as_=asker)
    refusals = [await house.refused(method, make(about), as_="ann") for about in ("user:bob", "user:ghost", "junk")]
    assert {refusal.code for refusal in refusals} == {"PERMISSION_DENIED"}
    assert len({(refusal.reason, refusal.message) for refusal in refusals}) == 1


async def test_who_can_is_told_to_who_reads_roles_alone(house: House) -> None:
    request = queries_pb2.ListPrincipalsRequest(right=READ)
    assert (await house.refused("ListPrincipals", request, as_="ann")).code == "PERMISSION_DENIED"
    assert (await house.ask("ListPrincipals", request, as_="aud")).principals


@pytest.mark.parametrize("method", [*ABOUT_SOMEBODY, "ListPrincipals"])
async def test_without_a_token_nobody_asks(house: House, method: str) -> None:
    request = ABOUT_SOMEBODY[method]("") if method in ABOUT_SOMEBODY else queries_pb2.ListPrincipalsRequest(right=READ)
    assert (await refusal_of(getattr(house.asking, method)(request))).code == "UNAUTHENTICATED"


@pytest.mark.parametrize(
    ("method", "request_", "fields"),
    [
        ("Check", queries_pb2.CheckRequest(question=question("bob", "fly")), {"question.principal", "question.right"}),
        ("Explain", queries_pb2.ExplainRequest(question=question("", "")), {"question.right"}),
        (
            "BatchCheck",
            queries_pb2.BatchCheckRequest(questions=[question("", "x"), question(), question("group:g")]),
            {"questions[0].right", "questions[2].principal"},
        ),
        ("BatchCheck", queries_pb2.BatchCheckRequest(), {"questions"}),
        ("BatchCheck", queries_pb2.BatchCheckRequest(questions=[question()] * (MOST_QUESTIONS + 1)), {"questions"}),
        ("ListAllowedScopes", queries_pb2.ListAllowedScopesRequest(principal="x", right="y"), {"principal", "right"}),
        ("ListRights", queries_pb2.ListRightsRequest(principal="user: x"), {"principal"}),
        ("ListPrincipals", queries_pb2.ListPrincipalsRequest(right="Owner"), {"right"}),
        ("ListPrincipals", queries_pb2.ListPrincipalsRequest(right=READ, page_size=-1), {"page_size"}),
        ("ListPrincipals", queries_pb2.ListPrincipalsRequest(page_size=-1), {"right", "page_size"}),
        ("ListPrincipals", queries_pb2.ListPrincipalsRequest(right=READ, page_token="x"), {"page_token"}),
    ],
)
async def test_a_question_that_makes_no_sense_is_refused_with_all_problems(
    house: House, method: str, request_: Any, fields: set[str]
) -> None:
    refusal = await house.refused(method, request_)
    assert (refusal.code, set(refusal.fields)) == ("INVALID_ARGUMENT", fields)


async def test_a_batch_is_answered_in_its_order(house: House) -> None:
    kiosk = object_of(tags=["emea"], groups=["kiosks"])
    asked = [
        question("user:ann", APPROVE, kiosk),
        question("user:ann", ASSIGN),
        question("", ASSIGN),
        question("user:ann", APPROVE, object_of(groups=["kiosks"])),
    ]
    answer = await house.ask("BatchCheck", queries_pb2.BatchCheckRequest(questions=asked * 25))
    assert list(answer.allowed) == [True, False, True, False] * 25
    assert answer.revision == 5


async def test_scopes_say_what_is_seen_what_may_be_targeted_and_until_when(house: House) -> None:
    answer = await house.ask("ListAllowedScopes", queries_pb2.ListAllowedScopesRequest(right=APPROVE), as_="ann")
    assert list(answer.scopes) == [
        queries_pb2.AllowedScope(
            role_assignment="approvers",
            role="Elevation Approver",
            scope_groups=["kiosks"],
            scope_tags=["emea"],
            expires=stamp(END),
        )
    ]
    answer = await house.ask("ListAllowedScopes", queries_pb2.ListAllowedScopesRequest(right=APPROVE))
    assert [scope.everything for scope in answer.scopes] == [True]
    answer = await house.ask("ListAllowedScopes", queries_pb2.ListAllowedScopesRequest(right=APPROVE), as_="aud")
    assert not answer.scopes


async def test_rights_are_listed_by_name_with_their_scopes(house: House) -> None:
    answer = await house.ask("ListRights", queries_pb2.ListRightsRequest(), as_="aud")
    names = ["audit.read", "devices.read", "policy_authoring.read", "policy_authoring.view_reports", "roles.read"]
    assert (answer.principal, [held.right for held in answer.rights]) == ("user:aud", names)
    assert {held.right: held.display_name for held in answer.rights} == {
        right.name: right.display_name for right in RIGHTS if right.name in names
    }
    assert {scope.role_assignment for held in answer.rights for scope in held.scopes} == {"auditors"}
    assert not (await house.ask("ListRights", queries_pb2.ListRightsRequest(), as_="nobody")).rights


async def test_who_can_is_listed_page_by_page_with_the_way_through_groups(house: House) -> None:
    asked = object_of(tags=["emea"], groups=["kiosks"])
    found, token = [], ""
    while True:
        request = queries_pb2.ListPrincipalsRequest(right=APPROVE, object=asked, page_size=1, page_token=token)
        answer = await house.ask("ListPrincipals", request)
        found += [(way.principal, way.role_assignment, list(way.groups)) for way in answer.principals]
        token = answer.next_page_token
        if not token:
            break
    assert found == [
        ("user:ann", "approvers", ["helpdesk", "tier2"]),
        ("user:bob", "approvers", ["helpdesk"]),
        ("user:owner", "owner", []),
    ]
    other = queries_pb2.ListPrincipalsRequest(right=READ, page_size=1)
    first = await house.ask("ListPrincipals", other)
    moved = queries_pb2.ListPrincipalsRequest(right=ASSIGN, page_size=1, page_token=first.next_page_token)
    assert (await house.refused("ListPrincipals", moved)).fields == {"page_token"}


async def test_an_explanation_names_near_misses(house: House) -> None:
    asked = question("user:ann", APPROVE, object_of(tags=["apac"], groups=["kiosks"]))
    answer = await house.ask("Explain", queries_pb2.ExplainRequest(question=asked))
    assert not answer.allowed
    assert [(step.role_assignment, list(step.gaps)) for step in answer.steps] == [
        ("approvers", [queries_pb2.ACCESS_GAP_OTHER_SCOPE_TAGS]),
        ("owner", [queries_pb2.ACCESS_GAP_NOT_A_MEMBER]),
    ]
    assert answer.steps[0].reason == 'role "Elevation Approver" grants it, but only for tag emea'
    assert list(answer.steps[0].groups) == ["helpdesk", "tier2"]
    own = queries_pb2.ExplainRequest(question=question("", APPROVE, object_of(tags=["apac"], groups=["kiosks"])))
    assert [step.role_assignment for step in (await house.ask("Explain", own, as_="ann")).steps] == ["approvers"]


async def test_a_question_waits_for_the_revision_that_it_names(house: House) -> None:
    revision = (await house.check()).revision
    request = queries_pb2.CheckRequest(question=question("user:new"), at_least_revision=revision + 1)
    waiting = asyncio.ensure_future(house.ask("Check", request))
    given = rbac_pb2.RoleAssignment(name="new", role="Auditor", members=["user:new"])
    assert await house.apply(role_assignments=[given]) == revision + 1
    answer = await waiting
    assert (answer.allowed, answer.revision) == (True, revision + 1)


async def test_a_revision_that_does_not_come_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    access = FakeAccess()
    token = access.owner()
    servicer = AccessQueryServicer(access.control, now=lambda: NOW, fresh_within=timedelta(milliseconds=10))
    add = partial(queries_pb2_grpc.add_AccessQueryServiceServicer_to_server, servicer)
    parts = ServiceParts(name="rbac", access=access.control, public=[add])
    async with open_doors(tmp_path, parts) as doors, doors.public() as channel:
        stub = queries_pb2_grpc.AccessQueryServiceStub(channel)
        requests = {method: make("") for method, make in ABOUT_SOMEBODY.items()}
        requests["ListPrincipals"] = queries_pb2.ListPrincipalsRequest(right=READ)
        for method, request in requests.items():
            request.at_least_revision = 2**64 - 1
            refusal = await refusal_of(getattr(stub, method)(request, metadata=bearer(token)))
            assert (refusal.code, refusal.reason) == ("UNAVAILABLE", "ACCESS_SNAPSHOT_BEHIND")
