"""Whom policies reach is changed only by those who may assign policies there."""

from dataclasses import replace

import pytest

from elevation.model import GroupType
from services._chassis.errors import DeniedError, StateError
from services._chassis.permits import Permit
from services.device.model.devices import Ownership
from services.device.model.groups import GroupDraft
from services.device.model.lifecycle import Lifecycle
from services.device.model.used_groups import UsedGroup, UsedGroups
from services.device.usecases.groups import apply_groups
from services.device.usecases.reach import MOST_SHOWN, newest_policy_revision, report_used_groups
from services.device.usecases.visibility import Standing
from tests.builders.device_database import keep
from tests.builders.devices import FREE, a_device, a_group
from tests.builders.reach import EVERYWHERE, Change, applying, deleting, draft, issuing, updating
from tests.fakes.access import permit
from tests.fakes.clock import NOW
from tests.fakes.device import MemoryStore

ASKED = 'os = "linux" AND tag = "finance"'
USED = UsedGroups(
    7,
    (
        UsedGroup("all-devices", ("ownership = personal",)),
        UsedGroup("dynamic"),
        UsedGroup("gone"),
        UsedGroup("kiosks"),
        UsedGroup("people"),
    ),
)
GROUPS = (
    a_group("kiosks", "ws-d1"),
    a_group("free", "ws-d1"),
    a_group("dynamic", filter=ASKED),
    a_group("people", "alice", type=GroupType.USER),
)


def assigning(*groups: str, reading: Permit = EVERYWHERE) -> Standing:
    """Stand as somebody who may do everything, but assign policies to these groups alone; to none: has not the right."""

    def check(right: str) -> Permit:
        if right != "policy_authoring.assign":
            return reading if right == "groups.read" else EVERYWHERE
        if not groups:
            raise DeniedError("needs policy_authoring.assign", reason="RIGHT_MISSING")
        return permit(right, groups=groups, tags=("emea",))

    return Standing(check, lambda _: ())


async def store_with(used: UsedGroups = USED) -> MemoryStore:
    store = MemoryStore()
    await keep(store, a_device("d1"), *GROUPS, used)
    return store


CHANGES: dict[str, tuple[Change, str]] = {
    "another member": (applying(draft("kiosks", "ws-d1", "ws-d2")), "kiosks"),
    "no member": (applying(draft("kiosks")), "kiosks"),
    "a filter for members": (applying(draft("kiosks", filter='os = "linux"')), "kiosks"),
    "another filter": (applying(draft("dynamic", filter='os = "linux"')), "dynamic"),
    "another user": (applying(draft("people", "alice", "bob", type=GroupType.USER)), "people"),
    "a group that was gone, empty": (applying(draft("gone")), "gone"),
    "a group that was gone, with members": (applying(draft("gone", "ws-d1")), "gone"),
    "only validated": (applying(draft("kiosks", "ws-d2"), validate_only=True), "kiosks"),
    "a group deleted": (deleting("kiosks"), "kiosks"),
    "a tag": (updating(tags=("finance",)), "dynamic"),
    "ownership": (updating(ownership=Ownership.PERSONAL), "all-devices"),
    "a user of the device": (updating(users=("alice",)), "people"),
    "a token for a group": (issuing(groups=("kiosks",)), "kiosks"),
    "a token for a tag": (issuing(tags=("finance",)), "dynamic"),
    "a token for a user": (issuing(users=("alice",)), "people"),
    "a token for any user": (issuing(allow_reported_users=True), "people"),
}
FREE_CHANGES: dict[str, Change] = {
    "another group": applying(draft("free", "ws-d2")),
    "a new group": applying(draft("new", "ws-d1")),
    "a description": applying(draft("kiosks", "ws-d1", description="by the door")),
    "another group deleted": deleting("free"),
    "another tag": updating(tags=("sales",)),
    "another ownership": updating(ownership=Ownership.CORPORATE),
    "another user of the device": updating(users=("bob",)),
    "scope tags": updating(scope_tags=("emea",)),
    "a token": issuing(groups=("free",), tags=("sales",), users=("bob",)),
}
changes = pytest.mark.parametrize(("change", "group"), CHANGES.values(), ids=CHANGES.keys())
every_change = pytest.mark.parametrize("change", [change for change, _ in CHANGES.values()], ids=CHANGES.keys())
free_changes = pytest.mark.parametrize("change", FREE_CHANGES.values(), ids=FREE_CHANGES.keys())


@changes
@pytest.mark.parametrize("elsewhere", [(), ("free", "all-users")], ids=["nowhere", "elsewhere"])
async def test_whom_policies_reach_is_not_changed_by_who_may_not_assign_there(
    change: Change, group: str, elsewhere: tuple[str, ...]
) -> None:
    store = await store_with()
    before = store.kept
    with pytest.raises(DeniedError, match=f'assigned to "{group}", .* needs policy_authoring.assign there') as refused:
        await change(store, assigning(*elsewhere))
    assert (refused.value.reason, store.kept) == ("GRANT_EXCEEDS_OWN_RIGHTS", before)


kept = [(name, *pair) for name, pair in CHANGES.items() if name != "a group deleted"]


@pytest.mark.parametrize(("change", "group"), [each[1:] for each in kept], ids=[each[0] for each in kept])
async def test_whom_policies_reach_is_changed_by_who_may_assign_there(change: Change, group: str) -> None:
    await change(await store_with(), assigning(group))


@pytest.mark.parametrize("change", [each[1] for each in kept], ids=[each[0] for each in kept])
async def test_an_owner_changes_everything(change: Change) -> None:
    await change(await store_with(), FREE)


@pytest.mark.parametrize("standing", [FREE, assigning("kiosks")], ids=["an owner", "who may assign there"])
async def test_a_group_that_policies_name_is_deleted_by_nobody(standing: Standing) -> None:
    store = await store_with()
    before = store.kept
    with pytest.raises(StateError, match='policies include or exclude "kiosks"; take it out of them first') as refused:
        await deleting("kiosks")(store, standing)
    assert (refused.value.reason, store.kept) == ("GROUP_IN_USE", before)
    await keep(store, UsedGroups(USED.revision + 1))
    await deleting("kiosks")(store, standing)
    assert store.kept.groups["kiosks"].deleted


@every_change
async def test_nothing_is_withheld_before_the_policy_service_has_told_its_groups(change: Change) -> None:
    await change(await store_with(UsedGroups()), assigning())


@free_changes
async def test_what_changes_nothing_for_policies_takes_no_right_over_them(change: Change) -> None:
    await change(await store_with(), assigning())


async def test_a_refusal_names_no_group_that_the_caller_does_not_see() -> None:
    store = await store_with()
    await keep(store, a_group("dynamic", filter=ASKED, scope_tags=("apac",)))
    with pytest.raises(DeniedError) as refused:
        await updating(tags=("finance",), users=("alice",))(store, assigning(reading=permit(tags=("default",))))
    assert "dynamic" not in str(refused.value)
    assert '"people" and groups that you do not see' in str(refused.value)


async def test_a_refusal_of_very_much_is_legible() -> None:
    store = await store_with(UsedGroups(1, tuple(UsedGroup(f"g{number}") for number in range(1000))))
    drafts = [GroupDraft(name=f"g{number}", type=GroupType.DEVICE) for number in range(1000)]
    with pytest.raises(DeniedError, match=f"{1000 - MOST_SHOWN} more") as refused:
        await apply_groups(store, drafts, standing=assigning(), validate_only=False, now=NOW)
    assert len(str(refused.value)) < 500


async def test_nothing_of_a_call_is_kept_if_one_group_is_withheld() -> None:
    store = await store_with()
    before = store.kept
    drafts = [GroupDraft(name=name, type=GroupType.DEVICE, members=("x",)) for name in ("free", "kiosks")]
    with pytest.raises(DeniedError):
        await apply_groups(store, drafts, standing=assigning(), validate_only=False, now=NOW)
    assert store.kept == before


async def test_the_newest_report_holds() -> None:
    store = await store_with(UsedGroups())
    for revision, kept in ((5, 5), (5, 5), (4, 5), (6, 6)):
        await report_used_groups(store, UsedGroups(revision, (UsedGroup(f"at-{revision}"),)))
        assert store.kept.used == UsedGroups(kept, (UsedGroup(f"at-{kept}"),))


async def test_a_group_that_policies_use_no_more_is_free_again() -> None:
    store = await store_with()
    await report_used_groups(store, UsedGroups(8))
    await applying(draft("kiosks", "ws-d2"))(store, assigning())
    assert store.kept.groups["kiosks"].members == ("ws-d2",)


async def test_a_report_moves_no_revision_of_the_directory() -> None:
    store = await store_with(UsedGroups())
    before = store.kept.revision
    await report_used_groups(store, USED)
    assert (store.kept.revision, store.actions) == (before, [])


async def test_the_newest_revision_that_was_heard_of_is_that_of_a_device_or_of_used_groups() -> None:
    store = await store_with(UsedGroups(4))
    assert await newest_policy_revision(store) == 4
    await keep(store, replace(a_device("d9"), lifecycle=Lifecycle(policy_revision=6)))
    assert await newest_policy_revision(store) == 6
