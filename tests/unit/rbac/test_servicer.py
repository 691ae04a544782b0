"""The rbac service behind real doors, on a database of its own."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from google.protobuf.timestamp_pb2 import Timestamp

from epm.access.v1 import objects_pb2
from epm.rbac.v1 import rbac_pb2, rbac_pb2_grpc
from services._chassis.db import Database
from services._chassis.rights import RIGHT_NAMES
from services.rbac.__main__ import build
from services.rbac.store import AUDIT, TOKENS
from tests.builders.doors import OpenDoors, bearer, open_doors, settings_for
from tests.builders.migrated import put_databases
from tests.builders.refusals import Refusal, refusal_of
from tests.fakes.clock import NOW, FakeClock

SERVICE = rbac_pb2.DESCRIPTOR.services_by_name["RbacService"]
NEEDED = {
    "ListRoles": "roles.read",
    "ListPrincipalGroups": "roles.read",
    "ListRoleAssignments": "roles.read",
    "ListPrincipals": "roles.read",
    "ListScopeTags": "scope_tags.read",
    "ListTrustedIssuers": "roles.read",
    "DeleteRole": "roles.delete",
    "DeleteRoleAssignment": "roles.assign",
    "DeletePrincipal": "roles.assign",
    "DeletePrincipalGroup": "roles.assign",
    "DeleteTrustedIssuer": "roles.assign",
    "IssueToken": "tokens.create",
    "ListTokens": "tokens.read",
    "RevokeToken": "tokens.revoke",
}
OF_OWNERS = {"DeleteTrustedIssuer"}


@dataclass
class House:
    """Call the service as anybody."""

    doors: OpenDoors
    stub: rbac_pb2_grpc.RbacServiceStub
    clock: FakeClock
    folder: Path

    @property
    def owner(self) -> str:
        return (self.folder / "owner-token").read_text().strip()

    async def call(self, method: str, request: Any = None, *, token: str | None = None) -> Any:
        """Call as the Owner unless another token is given; an empty one sends none."""
        ask = request if request is not None else getattr(rbac_pb2, f"{method}Request")()
        spoken = self.owner if token is None else token
        return await getattr(self.stub, method)(ask, metadata=bearer(spoken) if spoken else ())

    async def refused(self, method: str, request: Any = None, *, token: str | None = None) -> Refusal:
        return await refusal_of(self.call(method, request, token=token))

    async def apply(self, *, token: str | None = None, **objects: Any) -> Any:
        return await self.call("ApplyAccess", rbac_pb2.ApplyAccessRequest(**objects), token=token)

    async def token_of(self, name: str, *rights: str) -> str:
        """Give a new principal the rights; return a token that speaks for it."""
        if rights:
            role = rbac_pb2.Role(name=f"role of {name}", rights=rights)
            given = rbac_pb2.RoleAssignment(name=f"to {name}", role=role.name, members=[f"user:{name}"])
            await self.apply(roles=[role], role_assignments=[given])
        issued = await self.call("IssueToken", rbac_pb2.IssueTokenRequest(principal=f"user:{name}"))
        return str(issued.secret)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    clock = FakeClock()
    values: dict[str, Any] = {"access_bound": timedelta(days=1000)}
    put_databases(tmp_path)
    parts = await build(settings_for(tmp_path, **values), clock)
    async with open_doors(tmp_path, parts, clock=clock, **values) as doors, doors.public() as channel:
        yield House(doors, rbac_pb2_grpc.RbacServiceStub(channel), clock, tmp_path)


def test_the_table_of_this_test_names_every_rpc_that_needs_a_right() -> None:
    assert {method.name for method in SERVICE.methods} == {*NEEDED, "WhoAmI", "ApplyAccess", "GetLoginOptions"}


async def test_without_a_token_nobody_calls(house: House) -> None:
    for method in SERVICE.methods:
        if method.name != "GetLoginOptions":  # anybody may ask how to log in
            assert (await house.refused(method.name, token="")).code == "UNAUTHENTICATED"


async def test_every_right_but_the_one_that_is_needed_is_not_enough(house: House) -> None:
    for number, (method, right) in enumerate(NEEDED.items()):
        others = await house.token_of(f"others{number}", *(RIGHT_NAMES - {right}))
        error = await house.refused(method, token=others)
        assert (method, error.code, error.reason) == (method, "PERMISSION_DENIED", "RIGHT_MISSING")


async def test_the_one_right_that_is_needed_is_enough(house: House) -> None:
    for number, (method, right) in enumerate(NEEDED.items()):
        token = await house.token_of(f"only{number}", right)
        if method.startswith("List"):
            await house.call(method, token=token)
        elif method in OF_OWNERS:
            assert (await house.refused(method, token=token)).reason == "OWNER_REQUIRED"
        else:  # let in: what is refused is the empty request
            assert (await house.refused(method, token=token)).code in ("NOT_FOUND", "INVALID_ARGUMENT"), method


async def test_a_principal_without_a_role_learns_who_it_is_and_nothing_else(house: House) -> None:
    token = await house.token_of("nobody")
    who = await house.call("WhoAmI", token=token)
    assert (who.principal, list(who.rights), list(who.role_assignments)) == ("user:nobody", [], [])
    for method in NEEDED:
        assert (await house.refused(method, token=token)).code == "PERMISSION_DENIED"


@pytest.mark.parametrize(
    ("objects", "rights"),
    [
        ({"roles": [rbac_pb2.Role(name="")]}, {"roles.create", "roles.update"}),
        ({"principal_groups": [rbac_pb2.PrincipalGroup(name="")]}, {"roles.assign"}),
        ({"role_assignments": [rbac_pb2.RoleAssignment(name="")]}, {"roles.assign"}),
        ({"scope_tags": [rbac_pb2.ScopeTag(name="")]}, {"scope_tags.manage"}),
    ],
    ids=["roles", "principal groups", "role assignments", "scope tags"],
)
async def test_applying_needs_the_rights_of_each_kind_before_anything_is_read(
    house: House, objects: dict[str, Any], rights: set[str]
) -> None:
    for number, right in enumerate(sorted(rights)):
        others = await house.token_of(f"others{number}", *(RIGHT_NAMES - {right}))
        error = await house.refused("ApplyAccess", rbac_pb2.ApplyAccessRequest(**objects), token=others)
        assert (error.code, error.reason) == ("PERMISSION_DENIED", "RIGHT_MISSING")
    enough = await house.token_of("enough", *rights)
    error = await house.refused("ApplyAccess", rbac_pb2.ApplyAccessRequest(**objects), token=enough)
    assert error.code == "INVALID_ARGUMENT"


async def test_all_problems_come_at_once_by_the_path_of_their_field(house: House) -> None:
    bad = rbac_pb2.RoleAssignment(name="a", role="none", scope_tags=["mars"])
    error = await house.refused("ApplyAccess", rbac_pb2.ApplyAccessRequest(role_assignments=[bad]))
    assert list(error.problems) == [
        "role_assignments[0].role",
        "role_assignments[0].members",
        "role_assignments[0].scope_tags",
    ]


async def test_a_time_that_does_not_exist_is_bad_input(house: House) -> None:
    never = Timestamp(seconds=10**15)
    given = rbac_pb2.RoleAssignment(name="a", role="Auditor", members=["user:bob"], expires=never)
    for method, request, field in (
        ("ApplyAccess", rbac_pb2.ApplyAccessRequest(role_assignments=[given]), "role_assignments[0].expires"),
        ("IssueToken", rbac_pb2.IssueTokenRequest(principal="user:bob", expires=never), "expires"),
    ):
        error = await house.refused(method, request)
        assert error.code == "INVALID_ARGUMENT"
        assert list(error.problems) == [field]


async def test_an_assignment_comes_back_whole(house: House) -> None:
    end = Timestamp()
    end.FromDatetime(NOW + timedelta(days=1))
    tag = rbac_pb2.ScopeTag(name="emea", description="Europe")
    group = rbac_pb2.PrincipalGroup(name="tier2", members=["user:a", "user:b"])
    given = rbac_pb2.RoleAssignment(
        name="a", role="Auditor", members=["group:tier2"], scope_groups=["g"], scope_tags=["emea"], expires=end
    )
    applied = await house.apply(scope_tags=[tag], principal_groups=[group], role_assignments=[given])
    assert [(each.kind, each.name, each.action) for each in applied.objects] == [
        ("PrincipalGroup", "tier2", rbac_pb2.APPLY_ACTION_CREATED),
        ("RoleAssignment", "a", rbac_pb2.APPLY_ACTION_CREATED),
        ("ScopeTag", "emea", rbac_pb2.APPLY_ACTION_CREATED),
    ]
    for listed, asked in (
        ((await house.call("ListRoleAssignments")).role_assignments, given),
        ((await house.call("ListPrincipalGroups")).principal_groups, group),
        ((await house.call("ListScopeTags")).scope_tags, tag),
    ):
        (found,) = [one for one in listed if one.name == asked.name]
        found.ClearField("etag")
        assert found == asked


async def test_lists_come_in_pages_by_name(house: House) -> None:
    names: list[str] = []
    page_token = ""
    while True:
        page = await house.call("ListRoles", rbac_pb2.ListRolesRequest(page_size=4, page_token=page_token))
        names += [role.name for role in page.roles]
        page_token = page.next_page_token
        if not page_token:
            break
        assert len(page.roles) == 4
    assert len(names) == 9
    assert names == sorted(names)


async def test_a_new_token_opens_the_door_at_once_and_a_revoked_one_no_more(house: House) -> None:
    issued = await house.call("IssueToken", rbac_pb2.IssueTokenRequest(principal="user:bob", description="ci"))
    assert issued.secret.startswith("epm_")
    assert (await house.call("WhoAmI", token=issued.secret)).principal == "user:bob"
    revoked = await house.call("RevokeToken", rbac_pb2.RevokeTokenRequest(token_id=issued.token.token_id))
    assert revoked.token.HasField("revoked")
    error = await house.refused("WhoAmI", token=issued.secret)
    assert (error.code, error.reason) == ("UNAUTHENTICATED", "TOKEN_UNKNOWN")


async def test_a_token_is_refused_from_its_end_on(house: House) -> None:
    token = await house.token_of("bob")
    house.clock.advance(timedelta(days=90) - timedelta(microseconds=1))
    await house.call("WhoAmI", token=token)
    house.clock.advance(timedelta(microseconds=1))
    assert (await house.refused("WhoAmI", token=token)).reason == "TOKEN_EXPIRED"


async def test_the_text_of_a_token_is_shown_once_and_kept_nowhere(house: House) -> None:
    house.clock.advance(timedelta(seconds=1))
    secret = await house.token_of("bob")
    listed = await house.call("ListTokens")
    assert [token.principal for token in listed.tokens] == ["user:bob", "user:owner"]
    assert secret not in str(listed)
    files = [file.read_bytes() for file in house.folder.glob("rbac.db*")]
    assert files
    assert not any(secret.encode() in content for content in files)


async def test_a_right_ends_with_its_assignment(house: House) -> None:
    token = await house.token_of("bob", "roles.read")
    await house.call("ListRoles", token=token)
    await house.call("DeleteRoleAssignment", rbac_pb2.DeleteRoleAssignmentRequest(name="to bob"))
    assert (await house.refused("ListRoles", token=token)).code == "PERMISSION_DENIED"


async def test_who_changed_what_is_written_down_beside_the_change(house: House) -> None:
    await house.apply(scope_tags=[rbac_pb2.ScopeTag(name="emea")])
    await house.token_of("bob")
    database = await Database.connect(f"sqlite:///{house.folder / 'rbac.db'}", service="rbac")
    async with database.read() as tx:
        columns = (AUDIT.c.actor, AUDIT.c.action, AUDIT.c.target, AUDIT.c.request_id)
        rows = [tuple(row) for row in await tx.execute(sa.select(*columns).order_by(AUDIT.c.sequence))]
        kept = [row.token_id for row in await tx.execute(sa.select(TOKENS.c.token_id).order_by(TOKENS.c.created))]
    await database.close()
    assert [row[:2] for row in rows] == [
        ("service:rbac", "role_assignment_created"),
        ("service:rbac", "token_issued"),
        ("user:owner", "scope_tag_created"),
        ("user:owner", "token_issued"),
    ]
    assert {rows[1][2], rows[3][2]} == set(kept)
    assert all(row[3] for row in rows[2:])


async def test_a_later_start_makes_no_second_owner(house: House, tmp_path: Path) -> None:
    before = house.owner
    again = await build(settings_for(tmp_path), house.clock)
    await again.close()
    assert house.owner == before
    assert len((await house.call("ListTokens")).tokens) == 1


async def test_what_was_listed_is_what_an_apply_expects(house: House) -> None:
    await house.apply(scope_tags=[rbac_pb2.ScopeTag(name="emea", description="Europe")])
    (tag,) = (await house.call("ListScopeTags")).scope_tags
    expected = [objects_pb2.ExpectedObject(kind="ScopeTag", name="emea", etag=tag.etag)]
    tag.description = "EMEA"
    await house.apply(scope_tags=[tag], expected=expected)
    request = rbac_pb2.ApplyAccessRequest(scope_tags=[tag], expected=expected)
    error = await house.refused("ApplyAccess", request)
    assert (error.code, error.reason) == ("ABORTED", "STALE_ETAG")
    assert 'ScopeTag "emea" has changed' in error.message


@pytest.mark.parametrize(("kind", "right"), [("Role", "roles.read"), ("ScopeTag", "scope_tags.read")])
async def test_only_who_may_read_objects_expects_something_of_them(house: House, kind: str, right: str) -> None:
    request = rbac_pb2.ApplyAccessRequest(expected=[objects_pb2.ExpectedObject(kind=kind, name="Owner", etag="1")])
    others = await house.token_of("others", *(RIGHT_NAMES - {right}))
    assert (await house.refused("ApplyAccess", request, token=others)).reason == "RIGHT_MISSING"
    assert (await house.refused("ApplyAccess", request, token=await house.token_of("only", right))).code == "ABORTED"


async def test_principal_records_are_applied_listed_and_deleted(house: House) -> None:
    given = rbac_pb2.Principal(name="bob", endpoint_users=["svc-bob", "robert"])
    await house.apply(principals=[given])
    [listed] = (await house.call("ListPrincipals")).principals
    assert (listed.name, list(listed.endpoint_users)) == ("bob", ["robert", "svc-bob"])
    assert listed.etag
    await house.call("DeletePrincipal", rbac_pb2.DeletePrincipalRequest(name="bob"))
    assert not (await house.call("ListPrincipals")).principals
    assert (await house.refused("DeletePrincipal", rbac_pb2.DeletePrincipalRequest(name="bob"))).code == "NOT_FOUND"


async def test_an_owner_cannot_clear_its_own_principal_record(house: House) -> None:
    own = rbac_pb2.Principal(name="owner", endpoint_users=["olga"])
    await house.apply(principals=[own])
    cleared = rbac_pb2.ApplyAccessRequest(principals=[rbac_pb2.Principal(name="owner")])
    for method, request in (
        ("ApplyAccess", cleared),
        ("DeletePrincipal", rbac_pb2.DeletePrincipalRequest(name="owner")),
    ):
        error = await house.refused(method, request)
        assert (error.code, error.reason) == ("PERMISSION_DENIED", "OWN_ENDPOINT_USERS")
