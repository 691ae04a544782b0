"""The compiled access check: who may do what, within which scope, until when."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from services._chassis.access import AccessControl, CompiledAccess
from services._chassis.errors import DeniedError, UnauthenticatedError, UnavailableError
from services._chassis.permits import Permit, Scope
from services._chassis.rights import BITS, RIGHT_NAMES, mask_of, names_of
from services._chassis.snapshot import AccessSnapshot, AssignmentGrant, PrincipalGroupMembers, RoleGrant, TokenDigest
from tests.fakes.clock import NOW, FakeClock

READ, WRITE, APPROVE = "policy_authoring.read", "policy_authoring.update", "elevation_requests.modify"
ROLES = (
    RoleGrant("reader", frozenset({READ})),
    RoleGrant("writer", frozenset({READ, WRITE})),
    RoleGrant("Owner", RIGHT_NAMES),
    RoleGrant("strange", frozenset({"policy_authoring.fly"})),
)


def given(name: str, role: str, *members: str, **scope: Any) -> AssignmentGrant:
    kinds: dict[str, Any] = {
        key: frozenset(value) if isinstance(value, list) else value for key, value in scope.items()
    }
    return AssignmentGrant(name=name, role=role, members=frozenset(members), **kinds)


def access(*assignments: AssignmentGrant, **more: Any) -> CompiledAccess:
    return CompiledAccess(AccessSnapshot(revision=1, roles=ROLES, assignments=assignments, **more))


def permit(*scopes: tuple[list[str], list[str]]) -> Permit:
    return Permit(READ, tuple(Scope(frozenset(groups), frozenset(tags)) for groups, tags in scopes))


def test_what_nobody_granted_is_denied() -> None:
    assert access().permit("user:a", READ, NOW) is None
    assert access(given("g", "reader", "user:a")).permit("user:a", WRITE, NOW) is None
    assert access(given("g", "reader", "user:a")).permit("user:b", READ, NOW) is None


def test_grants_add_up() -> None:
    held = access(given("r", "reader", "user:a"), given("w", "writer", "user:a"))
    assert held.rights("user:a", NOW) == (READ, WRITE)
    assert [grant.assignment for grant in held.grants("user:a", NOW)] == ["r", "w"]


def test_a_right_counts_only_in_the_scope_of_the_assignment_that_grants_it() -> None:
    held = access(
        given("r", "reader", "user:a", scope_tags=["emea"]),
        given("w", "writer", "user:a", scope_tags=["apac"], scope_groups=["laptops"]),
    )
    reading, writing = held.permit("user:a", READ, NOW), held.permit("user:a", WRITE, NOW)
    assert reading is not None
    assert writing is not None
    assert reading.sees(["emea"])
    assert not writing.sees(["emea"])
    assert writing.may_target(["laptops"], tags=["apac"])
    assert not reading.may_target(["laptops"], tags=["emea"])


@pytest.mark.parametrize("grant", [given("g", "none", "user:a"), given("g", "strange", "user:a")])
def test_an_unknown_role_and_an_unknown_right_grant_nothing(grant: AssignmentGrant) -> None:
    held = access(grant)
    assert held.permit("user:a", READ, NOW) is None
    assert held.permit("user:a", "policy_authoring.fly", NOW) is None
    assert held.grants("user:a", NOW) == ()


def test_a_group_gives_to_its_members_and_an_unknown_group_to_nobody() -> None:
    members = (PrincipalGroupMembers("team", frozenset({"user:a"})),)
    held = access(given("g", "reader", "group:team", "group:none", "robot:x"), principal_groups=members)
    assert set(held.principals()) == {"user:a"}
    assert held.permit("group:team", READ, NOW) is None


def test_an_assignment_grants_until_its_time() -> None:
    end = NOW + timedelta(hours=1)
    held = access(given("g", "Owner", "user:a", expires=end))
    before = end - timedelta(microseconds=1)
    assert held.permit("user:a", READ, before) is not None
    assert held.is_owner("user:a", before)
    assert held.permit("user:a", READ, end) is None
    assert not held.is_owner("user:a", end)
    assert held.rights("user:a", end) == ()


def test_an_owner_sees_and_targets_everything_whatever_its_scope_says() -> None:
    owner = access(given("g", "Owner", "user:a", scope_tags=["emea"])).permit("user:a", READ, NOW)
    assert owner is not None
    assert owner.sees(["apac"])
    assert owner.may_target(["any"], tags=["apac"])
    assert owner.sees_everything()


def test_all_rights_without_the_role_of_an_owner_make_no_owner() -> None:
    roles = (RoleGrant("everything", RIGHT_NAMES),)
    held = CompiledAccess(AccessSnapshot(revision=1, roles=roles, assignments=(given("g", "everything", "user:a"),)))
    assert not held.is_owner("user:a", NOW)


def test_without_tags_an_assignment_sees_all_and_without_groups_it_targets_none() -> None:
    bare = permit(([], []))
    assert bare.sees(["any"])
    assert bare.sees([])
    assert bare.sees_everything()
    assert bare.out_of_scope(["laptops", "all-devices"], tags=[]) == ("all-devices", "laptops")


def test_an_untagged_object_carries_the_tag_default() -> None:
    assert permit(([], ["default"])).sees([])
    assert not permit(([], ["emea"])).sees([])
    assert permit((["g"], ["default"])).may_target(["g"], tags=[])


def test_the_virtual_groups_contain_no_other() -> None:
    assert permit((["all-devices"], [])).out_of_scope(["all-devices", "laptops"], tags=[]) == ("laptops",)


def test_targeting_needs_a_scope_that_also_sees_the_object() -> None:
    two = permit((["laptops"], ["emea"]), (["kiosks"], ["apac"]))
    assert two.may_target(["laptops"], tags=["emea"])
    assert two.out_of_scope(["laptops", "kiosks"], tags=["emea"]) == ("kiosks",)
    assert two.may_target(["laptops", "kiosks"], tags=["emea", "apac"])


def test_a_call_that_needs_no_right_has_no_scope() -> None:
    assert not Permit().sees([])
    assert not Permit().sees_everything()
    assert Permit().visible_tags() == frozenset()
    assert Permit().out_of_scope(["g"], tags=[]) == ("g",)


@pytest.mark.parametrize(
    ("scopes", "tags"),
    [
        ([([], ["emea"]), ([], ["apac"])], {"emea", "apac"}),
        ([([], ["emea"]), ([], [])], None),
    ],
)
def test_what_is_visible_is_what_any_scope_sees(
    scopes: list[tuple[list[str], list[str]]], tags: set[str] | None
) -> None:
    assert permit(*scopes).visible_tags() == tags


def test_a_new_object_inherits_the_tags_of_its_creator() -> None:
    assert permit(([], ["emea", "apac"])).tags_for_new_object() == {"emea", "apac"}
    assert permit(([], [])).tags_for_new_object() == {"default"}


def test_nobody_hands_an_object_to_those_whom_they_cannot_see() -> None:
    some = permit(([], ["emea", "apac"]))
    assert some.may_tag(["emea"])
    assert not some.may_tag(["emea", "amer"])
    assert not some.may_tag([])
    assert permit(([], [])).may_tag(["amer"])


def test_rights_and_their_bits_belong_together() -> None:
    assert len(set(BITS.values())) == len(RIGHT_NAMES)
    assert names_of(mask_of(RIGHT_NAMES)) == tuple(sorted(RIGHT_NAMES))
    assert mask_of(frozenset({"policy_authoring.fly"})) == 0


class Control:
    """Access control at a time that the test moves."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.control = AccessControl(self.clock, bound=timedelta(seconds=60))

    def load(self, revision: int = 1, **more: Any) -> None:
        grants = (given("g", "reader", "user:a"),)
        self.control.replace(AccessSnapshot(revision=revision, roles=ROLES, assignments=grants, **more))


def test_before_the_first_snapshot_everyone_is_refused() -> None:
    here = Control()
    assert (here.control.revision, here.control.fresh()) == (0, False)
    with pytest.raises(UnavailableError) as raised:
        here.control.check("user:a", READ)
    assert raised.value.reason == "ACCESS_SNAPSHOT_STALE"


def test_a_snapshot_that_nobody_confirmed_within_the_bound_refuses_everyone() -> None:
    here = Control()
    here.load()
    here.clock.advance(timedelta(seconds=60) - timedelta(microseconds=1))
    here.control.check("user:a", READ)
    here.clock.advance(timedelta(microseconds=1))
    for ask in (lambda: here.control.check("user:a", READ), lambda: here.control.authenticate(b"")):
        with pytest.raises(UnavailableError):
            ask()
    here.control.confirm()
    here.control.check("user:a", READ)


def test_who_lacks_the_right_is_told_which_one() -> None:
    here = Control()
    here.load()
    assert here.control.check("user:a", READ).right == READ
    with pytest.raises(DeniedError, match="user:a needs the right elevation_requests") as raised:
        here.control.check("user:a", APPROVE)
    assert raised.value.reason == "RIGHT_MISSING"


def test_a_token_counts_until_its_end_and_an_unknown_one_never() -> None:
    here = Control()
    token = TokenDigest(token_id="t", digest=b"d", principal="user:a", expires=NOW + timedelta(seconds=30))
    here.load(tokens=(token, TokenDigest(token_id="u", digest=b"e", principal="user:b")))
    assert here.control.authenticate(b"d") == token
    here.clock.advance(timedelta(seconds=30))
    assert here.control.authenticate(b"e").principal == "user:b"
    for digest, reason in ((b"d", "TOKEN_EXPIRED"), (b"x", "TOKEN_UNKNOWN")):
        with pytest.raises(UnauthenticatedError) as raised:
            here.control.authenticate(digest)
        assert raised.value.reason == reason


def test_a_new_snapshot_replaces_the_old_one_whole() -> None:
    here = Control()
    here.load(tokens=(TokenDigest(token_id="t", digest=b"d", principal="user:a"),))
    here.load(2)
    assert here.control.revision == 2
    with pytest.raises(UnauthenticatedError):
        here.control.authenticate(b"d")


def test_who_listens_hears_of_every_snapshot_and_confirmation() -> None:
    here = Control()
    heard: list[int] = []
    here.control.on_change.append(lambda: heard.append(here.control.revision))
    here.load(3)
    here.control.confirm()
    assert heard == [3, 3]


def test_who_changes_a_scope_group_has_every_right_that_it_gives() -> None:
    held = access(
        given("w", "writer", "user:w", scope_groups=["kiosks"]),
        given("gone", "writer", "user:x", scope_groups=["old"], expires=NOW),
        given("r", "reader", "user:r", scope_groups=["kiosks"]),
        given("far", "writer", "user:f", scope_groups=["labs"]),
        given("o", "Owner", "user:o"),
    )
    assert held.excess_over("kiosks", "user:w", NOW) == ()
    assert held.excess_over("kiosks", "user:o", NOW) == ()
    assert held.excess_over("kiosks", "user:r", NOW) == (WRITE,)
    assert held.excess_over("kiosks", "user:f", NOW) == (READ, WRITE)
    assert held.excess_over("kiosks", "user:nobody", NOW) == (READ, WRITE)
    assert held.excess_over("old", "user:nobody", NOW) == ()
    assert held.excess_over("free", "user:nobody", NOW) == ()


async def test_a_revision_is_waited_for_until_its_snapshot_comes() -> None:
    here = Control()
    here.load(4)
    assert (await here.control.at_least(4, 0)).revision == 4
    waiting = asyncio.ensure_future(here.control.at_least(6, 60))
    await asyncio.wait([waiting], timeout=0)
    here.load(5)
    await asyncio.wait([waiting], timeout=0)
    assert not waiting.done()
    here.load(7)
    assert (await waiting).revision == 7


async def test_a_revision_that_does_not_come_in_time_is_refused() -> None:
    here = Control()
    here.load(4)
    with pytest.raises(UnavailableError, match="revision 5 of the access data has not come, 4 is in force") as raised:
        await here.control.at_least(5, 0)
    assert raised.value.reason == "ACCESS_SNAPSHOT_BEHIND"


async def test_a_revision_that_is_known_but_stale_is_refused() -> None:
    here = Control()
    here.load(4)
    here.clock.advance(timedelta(seconds=60))
    with pytest.raises(UnavailableError) as raised:
        await here.control.at_least(4, 0)
    assert raised.value.reason == "ACCESS_SNAPSHOT_STALE"


def test_groups_of_the_caller_s_own_count_like_those_of_the_snapshot() -> None:
    groups = (
        PrincipalGroupMembers("outer", frozenset({"group:inner"})),
        PrincipalGroupMembers("inner", frozenset({"user:a"})),
    )
    held = access(given("g", "writer", "group:outer"), given("o", "Owner", "group:outer"), principal_groups=groups)
    inner = frozenset({"inner", "unknown"})
    assert held.permit("user:new", WRITE, NOW) is None
    assert held.permit("user:new", WRITE, NOW, inner) is not None
    assert held.is_owner("user:new", NOW, inner)
    assert [grant.assignment for grant in held.grants("user:new", NOW, inner)] == ["g", "o"]
    assert held.rights("user:new", NOW, inner) == tuple(sorted(RIGHT_NAMES))
    assert held.excess_over("any", "user:new", NOW, inner) == ()
    assert held.permit("user:new", WRITE, NOW, frozenset({"unknown"})) is None
    here = Control()
    here.control.replace(held.snapshot)
    assert here.control.check("user:new", WRITE, inner).right == WRITE
    with pytest.raises(DeniedError):
        here.control.check("user:new", WRITE)


def test_an_answer_that_was_kept_is_given_up_at_the_end_of_each_grant_whichever_way_time_is_asked_for() -> None:
    hour = timedelta(hours=1)
    held = access(
        given("a", "reader", "user:a", scope_tags=["emea"], expires=NOW + hour),
        given("b", "reader", "user:a", scope_tags=["apac"], expires=NOW + 2 * hour),
    )
    expected = {0: {"emea", "apac"}, 1: {"apac"}, 2: None}
    for hours in (0, 2, 1, 0, 1, 2, 2, 0):
        permit = held.permit("user:a", READ, NOW + hours * hour)
        assert (permit.visible_tags() if permit else None) == expected[hours]
