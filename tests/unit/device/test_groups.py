from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from elevation.model import GroupType
from services._chassis.errors import DeniedError, InvalidError, NotFoundError, StateError
from services._chassis.permits import Permit
from services.device.model.groups import MOST_GROUPS_A_CALL, MOST_MEMBERS, Group, GroupDraft
from services.device.usecases.groups import Action, Applied, apply_groups, delete_group, get_group, list_groups
from services.device.usecases.visibility import Standing
from tests.builders.device_database import keep
from tests.builders.devices import FREE, a_group
from tests.fakes.access import permit
from tests.fakes.clock import NOW
from tests.fakes.device import MemoryStore

OWNER = permit(everything=True)
EMEA = permit(tags=("emea",))
Check = Callable[[str], Permit]


def may(*rights: str, within: Permit = OWNER) -> Check:
    """Return a check that knows these rights."""

    def check(right: str) -> Permit:
        if right not in rights:
            raise DeniedError(f"needs the right {right}", reason="RIGHT_MISSING")
        return within

    return check


BOTH = may("groups.create", "groups.update")


def draft(name: str = "kiosks", *members: str, **values: object) -> GroupDraft:
    return replace(GroupDraft(name=name, type=GroupType.DEVICE, members=members), **values)  # type: ignore[arg-type]


async def store_with(*groups: Group) -> MemoryStore:
    store = MemoryStore()
    async with store.transaction() as work:
        await work.next_revision()
    await keep(store, *groups)
    return store


async def apply(
    store: MemoryStore,
    *drafts: GroupDraft,
    check: Check = BOTH,
    excess: Callable[[str], Sequence[str]] = lambda _: (),
    validate_only: bool = False,
) -> Applied:
    return await apply_groups(store, drafts, standing=Standing(check, excess), validate_only=validate_only, now=NOW)


def beyond(group: str) -> Sequence[str]:
    """Return what others have over the group `reach`, and the caller has not."""
    return ("policy_authoring.assign",) if group == "reach" else ()


@pytest.mark.parametrize("validate_only", [True, False])
@pytest.mark.parametrize("changed", [draft("reach", "a", "b"), draft("reach", filter='os = "linux"')])
async def test_who_is_in_a_scope_group_is_changed_only_by_who_has_the_rights_it_gives(
    changed: GroupDraft, *, validate_only: bool
) -> None:
    store = await store_with(a_group("reach", "a"))
    before = store.kept
    with pytest.raises(DeniedError, match="comes under") as refused:
        await apply(store, changed, excess=beyond, validate_only=validate_only)
    assert (refused.value.reason, store.kept) == ("GRANT_EXCEEDS_OWN_RIGHTS", before)


async def test_a_group_that_scopes_name_already_is_made_only_by_who_has_the_rights_it_gives() -> None:
    store = await store_with()
    with pytest.raises(DeniedError, match="scope group"):
        await apply(store, draft("reach", "a"), excess=beyond)


async def test_what_else_a_scope_group_is_may_be_changed() -> None:
    store = await store_with(a_group("reach", "a"))
    await apply(store, draft("reach", "a", description="all of them"), draft("other", "b"), excess=beyond)
    assert store.kept.groups["reach"].description == "all of them"


async def test_groups_are_created_updated_and_left_alone_in_one_revision() -> None:
    store = await store_with(a_group("old", "a"), a_group("same", "b", "a"))
    applied = await apply(store, draft("new", "y", "x"), draft("same", "a", "b"), draft("old", "c"))
    assert applied == Applied((("new", Action.CREATED), ("same", Action.UNCHANGED), ("old", Action.UPDATED)), 2)
    assert store.kept.groups["new"] == a_group("new", "x", "y", revision=2)
    assert store.kept.groups["old"] == a_group("old", "c", revision=2)
    assert store.kept.groups["same"].revision == 1
    assert store.actions == ["group_created", "group_updated"]


async def test_the_same_call_twice_changes_nothing() -> None:
    store, drafts = await store_with(), (draft("g", "b", "a"), draft("h", filter='os = "linux"'))
    await apply(store, *drafts)
    before = store.kept
    applied = await apply(store, *drafts)
    assert {action for _, action in applied.actions} == {Action.UNCHANGED}
    assert applied.revision == 2
    assert store.kept == before


async def test_validating_only_says_what_would_become_of_groups_and_changes_nothing() -> None:
    store = await store_with(a_group("old"))
    before = store.kept
    applied = await apply(store, draft("new"), draft("old", "x"), validate_only=True)
    assert applied == Applied((("new", Action.CREATED), ("old", Action.UPDATED)), 1)
    assert store.kept == before


async def test_validating_only_checks_everything() -> None:
    store = await store_with(a_group("people", type=GroupType.USER))
    with pytest.raises(InvalidError):
        await apply(store, draft(""), validate_only=True)
    with pytest.raises(StateError):
        await apply(store, draft("people"), validate_only=True)
    with pytest.raises(DeniedError):
        await apply(store, draft("new"), check=may("groups.update"), validate_only=True)


async def test_everything_that_is_wrong_with_all_groups_is_told_at_once() -> None:
    store = await store_with()
    drafts = (
        draft("all-devices"),
        draft("twice", "a", "a"),
        draft("twice", type=None),
        draft("mixed", "a", filter='os = "linux"'),
        draft("people", type=GroupType.USER, filter='os = "linux"'),
        draft("broken", filter="os ="),
        draft("ok", "", scope_tags=("", "b")),
    )
    with pytest.raises(InvalidError) as refused:
        await apply(store, *drafts)
    assert [problem.field for problem in refused.value.problems] == [
        "groups[0].name",
        "groups[1].members",
        "groups[2].type",
        "groups[2].name",
        "groups[3].filter",
        "groups[4].filter",
        "groups[5].filter",
        "groups[6].members[0]",
        "groups[6].scope_tags[0]",
    ]
    assert store.kept.groups == {}


async def test_too_many_groups_or_members_are_refused_without_looking_further() -> None:
    store = await store_with()
    with pytest.raises(InvalidError, match="at most 1000") as groups:
        await apply(store, *[draft("")] * (MOST_GROUPS_A_CALL + 1))
    with pytest.raises(InvalidError, match="at most 10000") as members:
        await apply(store, draft("g", *[""] * (MOST_MEMBERS + 1)))
    assert [problem.field for problem in groups.value.problems] == ["groups"]
    assert [problem.field for problem in members.value.problems] == ["groups[0].members"]


async def test_the_type_of_a_group_is_fixed_and_all_that_would_change_are_named() -> None:
    store = await store_with(a_group("a", type=GroupType.USER), a_group("b", type=GroupType.USER), a_group("c"))
    before = store.kept
    with pytest.raises(StateError, match="a, b;") as refused:
        await apply(store, draft("a"), draft("b"), draft("c", "new"))
    assert refused.value.reason == "GROUP_TYPE_FIXED"
    assert store.kept == before


async def test_a_group_that_was_deleted_may_come_back_as_another_type() -> None:
    store = await store_with(a_group("g", type=GroupType.USER, deleted=True))
    applied = await apply(store, draft("g", "ws"))
    assert applied.actions == (("g", Action.CREATED),)
    assert store.kept.groups["g"] == a_group("g", "ws", revision=2)


@pytest.mark.parametrize(
    ("rights", "refused"),
    [
        ((), ["new", "old"]),
        (("groups.create",), ["old"]),
        (("groups.update",), ["new"]),
        (("groups.create", "groups.update"), []),
    ],
)
async def test_creating_and_updating_need_each_their_right(rights: tuple[str, ...], refused: list[str]) -> None:
    for name in ("new", "old"):
        store = await store_with(a_group("old"))
        if name in refused:
            with pytest.raises(DeniedError):
                await apply(store, draft(name, "x"), check=may(*rights))
            assert store.kept.groups == {"old": a_group("old")}
        else:
            await apply(store, draft(name, "x"), check=may(*rights))
            assert store.kept.groups[name].members == ("x",)


async def test_who_may_neither_create_nor_update_learns_nothing_about_the_input() -> None:
    with pytest.raises(DeniedError):
        await apply(await store_with(), draft(""), check=may("groups.read"))


async def test_one_group_that_is_not_allowed_stops_the_whole_call() -> None:
    store = await store_with(a_group("old"))
    with pytest.raises(DeniedError):
        await apply(store, draft("new"), draft("old", "x"), check=may("groups.create"))
    assert store.kept.groups.keys() == {"old"}


async def test_a_new_group_gets_its_creators_scope_tags_unless_it_names_its_own() -> None:
    store = await store_with()
    emea = may("groups.create", "groups.update", within=EMEA)
    await apply(store, draft("inherits"), draft("says", scope_tags=("emea",)), check=emea)
    await apply(store, draft("default"), draft("many", scope_tags=("b", "a")))
    tags = {name: group.scope_tags for name, group in store.kept.groups.items()}
    assert tags == {"inherits": ("emea",), "says": ("emea",), "default": ("default",), "many": ("a", "b")}


async def test_a_group_keeps_its_scope_tags_unless_the_call_names_others() -> None:
    store = await store_with(a_group("g", scope_tags=("emea",)))
    await apply(store, draft("g", "x"))
    assert store.kept.groups["g"].scope_tags == ("emea",)
    await apply(store, draft("g", "x", scope_tags=("apac",)))
    assert store.kept.groups["g"].scope_tags == ("apac",)


@pytest.mark.parametrize(
    "wanted",
    [
        draft("new", scope_tags=("apac",)),
        draft("new", scope_tags=("apac", "emea")),
        draft("mine", scope_tags=("apac", "emea")),
        draft("shared", scope_tags=("emea",)),
        draft("theirs", "x"),
        draft("theirs", scope_tags=("emea",)),
    ],
)
async def test_groups_and_scope_tags_out_of_the_callers_scope_are_out_of_reach(wanted: GroupDraft) -> None:
    store = await store_with(
        a_group("mine", scope_tags=("emea",)),
        a_group("shared", scope_tags=("apac", "emea")),
        a_group("theirs", scope_tags=("apac",)),
    )
    before = store.kept
    with pytest.raises(DeniedError):
        await apply(store, wanted, check=may("groups.create", "groups.update", within=EMEA))
    assert store.kept == before


async def test_a_group_that_is_hidden_looks_like_one_that_is_not_there() -> None:
    store = await store_with(a_group("theirs", scope_tags=("apac",)))
    before = store.kept
    for name in ("theirs", "nobody"):
        with pytest.raises(NotFoundError, match="there is no such group"):
            await get_group(store, name, permit=EMEA)
        with pytest.raises(NotFoundError, match="there is no such group"):
            await delete_group(store, name, permit=EMEA, standing=FREE, now=NOW)
    assert store.kept == before


async def test_a_list_shows_what_the_caller_may_see_by_name() -> None:
    store = await store_with(a_group("b", scope_tags=("emea",)), a_group("a", scope_tags=("emea",)), a_group("c"))
    page = await list_groups(store, permit=EMEA, page_size=1, page_token="")
    rest = await list_groups(store, permit=EMEA, page_size=1, page_token=page.next_token)
    assert [group.name for group in (*page.items, *rest.items)] == ["a", "b"]
    assert rest.next_token == ""


async def test_a_deleted_group_leaves_a_tombstone_without_members() -> None:
    store = await store_with(a_group("g", "a", "b"))
    assert await delete_group(store, "g", permit=OWNER, standing=FREE, now=NOW) == 2
    assert store.kept.groups["g"] == a_group("g", deleted=True, revision=2)
    assert store.actions == ["group_deleted"]
    assert (store.kept.audit[0].before or {})["members"] == ["a", "b"]
    with pytest.raises(NotFoundError):
        await delete_group(store, "g", permit=OWNER, standing=FREE, now=NOW)
    with pytest.raises(NotFoundError):
        await get_group(store, "g", permit=OWNER)
