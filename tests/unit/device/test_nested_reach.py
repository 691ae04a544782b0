"""Whom policies reach by groups in groups is changed only by those who may assign policies there, by whatever path."""

from dataclasses import replace

import pytest

from elevation.model import GroupType
from services._chassis.errors import DeniedError
from services._chassis.permits import Permit
from services.device.model.devices import Ownership
from services.device.model.groups import GroupDraft
from services.device.model.used_groups import UsedGroup, UsedGroups
from services.device.usecases.visibility import Standing
from tests.builders.device_database import keep
from tests.builders.devices import FREE, a_device, a_group
from tests.builders.reach import EVERYWHERE, Change, applying, deleting, draft, issuing, updating
from tests.fakes.access import permit
from tests.fakes.device import MemoryStore

USED = UsedGroups(7, (UsedGroup("hall"), UsedGroup("crowd"), UsedGroup("gone")))
GROUPS = (
    a_group("hall", "ws-d9", groups=("room", "found")),
    a_group("room", "ws-d1"),
    a_group("found", filter='os = "linux" AND tag = "finance" OR ownership = personal'),
    a_group("crowd", type=GroupType.USER, groups=("people",)),
    a_group("people", "alice", type=GroupType.USER),
    a_group("free", "ws-d1"),
    a_group("guests", "bob", type=GroupType.USER),
    a_group("annex", groups=("free",)),
)


def assigning(*groups: str, reading: Permit = EVERYWHERE) -> Standing:
    """Stand as somebody who may do everything, but assign policies to these groups alone."""

    def check(right: str) -> Permit:
        if right == "policy_authoring.assign":
            return permit(right, groups=groups)
        return reading if right == "groups.read" else EVERYWHERE

    return Standing(check, lambda _: ())


def user_draft(name: str, *members: str, **values: object) -> GroupDraft:
    return draft(name, *members, type=GroupType.USER, **values)


async def store_with(used: UsedGroups = USED) -> MemoryStore:
    store = MemoryStore()
    await keep(store, a_device("d1"), *GROUPS, used)
    return store


UNNESTED = draft("hall", "ws-d9", groups=("found",))
CHANGES: dict[str, tuple[Change, str]] = {
    "a member of a nested group": (applying(draft("room", "ws-d1", "ws-d2")), "hall"),
    "no member of a nested group": (applying(draft("room")), "hall"),
    "a filter for the members of a nested group": (applying(draft("room", filter="os = linux")), "hall"),
    "the filter of a nested group": (applying(draft("found", filter="os = linux")), "hall"),
    "members for the filter of a nested group": (applying(draft("found", "ws-d1")), "hall"),
    "a user in a nested group": (applying(user_draft("people", "alice", "bob")), "crowd"),
    "one more nested group": (applying(draft("hall", "ws-d9", groups=("room", "found", "free"))), "hall"),
    "a nested group less": (applying(UNNESTED), "hall"),
    "no nested groups": (applying(draft("hall", "ws-d9")), "hall"),
    "another group of users": (applying(user_draft("crowd", groups=("guests",))), "crowd"),
    "let go, then changed": (applying(UNNESTED, draft("room", "ws-d2")), "hall"),
    "changed, then let go": (applying(draft("room", "ws-d2"), UNNESTED), "hall"),
    "a new group, nested at once": (
        applying(draft("hall", "ws-d9", groups=("room", "found", "new")), draft("new", "ws-d2")),
        "hall",
    ),
    "under another name": (
        applying(draft("hall", "ws-d9", groups=("found", "chamber")), draft("chamber", "ws-d1")),
        "hall",
    ),
    "among changes that are free": (applying(draft("free", "ws-d3"), draft("room", "ws-d3")), "hall"),
    "a group that was gone, with nested ones": (applying(draft("gone", groups=("free",))), "gone"),
    "only validated": (applying(draft("room", "ws-d2"), validate_only=True), "hall"),
    "a group that nests, deleted": (deleting("hall"), "hall"),
    "a nested group, deleted": (deleting("room"), "hall"),
    "a tag": (updating(tags=("finance",)), "hall"),
    "ownership": (updating(ownership=Ownership.PERSONAL), "hall"),
    "a user of the device": (updating(users=("alice",)), "crowd"),
    "a token for a nested group": (issuing(groups=("room",)), "hall"),
    "a token for a tag": (issuing(tags=("finance",)), "hall"),
    "a token for a user": (issuing(users=("alice",)), "crowd"),
    "a token for any user": (issuing(allow_reported_users=True), "crowd"),
}
FREE_CHANGES: dict[str, Change] = {
    "a description of a nested group": applying(draft("room", "ws-d1", description="upstairs")),
    "a group that only unused ones nest": applying(draft("free", "ws-d2")),
    "nested elsewhere too": applying(draft("annex", groups=("free", "room"))),
    "a tag that nobody asks for": updating(tags=("sales",)),
    "a user of no such group": updating(users=("bob",)),
    "a token": issuing(groups=("free", "annex"), tags=("sales",), users=("bob",)),
}
changes = pytest.mark.parametrize(("change", "group"), CHANGES.values(), ids=CHANGES.keys())
free_changes = pytest.mark.parametrize("change", FREE_CHANGES.values(), ids=FREE_CHANGES.keys())


@changes
@pytest.mark.parametrize("elsewhere", [(), ("room", "found", "people", "free", "annex")], ids=["nowhere", "elsewhere"])
async def test_whom_policies_reach_by_nesting_is_not_changed_by_who_may_not_assign_there(
    change: Change, group: str, elsewhere: tuple[str, ...]
) -> None:
    store = await store_with()
    before = store.kept
    with pytest.raises(DeniedError, match=f'assigned to "{group}", .* needs policy_authoring.assign there') as refused:
        await change(store, assigning(*elsewhere))
    assert (refused.value.reason, store.kept) == ("GRANT_EXCEEDS_OWN_RIGHTS", before)


@pytest.mark.parametrize(
    ("change", "group"),
    [pair for name, pair in CHANGES.items() if not name.endswith("deleted")],
    ids=[name for name in CHANGES if not name.endswith("deleted")],
)
async def test_whom_policies_reach_by_nesting_is_changed_by_who_may_assign_there(change: Change, group: str) -> None:
    await change(await store_with(), assigning(group))
    await change(await store_with(), FREE)


@free_changes
async def test_what_changes_nothing_for_policies_takes_no_right_over_them(change: Change) -> None:
    await change(await store_with(), assigning())


async def test_a_group_and_one_that_nests_it_are_used_both_and_take_the_right_over_both() -> None:
    used = UsedGroups(8, (*USED.groups, UsedGroup("room")))
    change = applying(draft("room", "ws-d2"))
    for groups in ((), ("hall",), ("room",)):
        with pytest.raises(DeniedError):
            await change(await store_with(used), assigning(*groups))
    await change(await store_with(used), assigning("hall", "room"))


async def test_a_refusal_names_no_group_that_nests_and_that_the_caller_does_not_see() -> None:
    store = await store_with()
    await keep(store, replace(GROUPS[0], scope_tags=("apac",)))
    with pytest.raises(DeniedError, match="assigned to groups that you do not see, ") as refused:
        await applying(draft("room", "ws-d2"))(store, assigning(reading=permit(tags=("default",))))
    assert "hall" not in str(refused.value)
