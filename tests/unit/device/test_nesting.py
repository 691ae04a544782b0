"""Groups in groups: what may be nested, and what the messages say."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elevation.checks import MAX_NESTED
from elevation.model import GroupType
from services._chassis.errors import DeniedError, InvalidError, StateError
from services._chassis.permits import Permit
from services.device.model.groups import Group, GroupDraft, check_drafts, check_nesting
from services.device.usecases.groups import Action, Applied, apply_groups, delete_group
from services.device.usecases.visibility import Standing
from tests.builders.device_database import keep
from tests.builders.devices import FREE, a_group
from tests.fakes.access import permit
from tests.fakes.clock import NOW
from tests.fakes.device import MemoryStore

EVERYWHERE = permit(everything=True)
EMEA = Standing(lambda right: permit(right, tags=("emea",)), lambda _: ())


def draft(name: str, *groups: str, **values: object) -> GroupDraft:
    return replace(GroupDraft(name=name, type=GroupType.DEVICE, groups=groups), **values)  # type: ignore[arg-type]


async def store_with(*groups: Group) -> MemoryStore:
    store = MemoryStore()
    await keep(store, *groups)
    return store


async def apply(store: MemoryStore, *drafts: GroupDraft, standing: Standing = FREE) -> Applied:
    return await apply_groups(store, drafts, standing=standing, validate_only=False, now=NOW)


async def refused(store: MemoryStore, *drafts: GroupDraft, standing: Standing = FREE) -> dict[str, str]:
    """Return what is wrong with the drafts, by field; nothing is kept of them."""
    before = store.kept
    with pytest.raises(InvalidError) as told:
        await apply(store, *drafts, standing=standing)
    assert store.kept == before
    return {problem.field: problem.message for problem in told.value.problems}


async def test_groups_are_nested_and_let_go() -> None:
    store = await store_with(a_group("in"), a_group("other", filter="os = linux"))
    assert (await apply(store, draft("out", "other", "in", members=("ws-1",)))).actions == (("out", Action.CREATED),)
    assert store.kept.groups["out"].groups == ("in", "other")
    assert (await apply(store, draft("out", "in", "other", members=("ws-1",)))).actions == (("out", Action.UNCHANGED),)
    assert (await apply(store, draft("out", members=("ws-1",)))).actions == (("out", Action.UPDATED),)
    assert store.kept.audit[-1].before["groups"] == ["in", "other"]  # type: ignore[index]


async def test_groups_of_one_call_nest_each_other_in_any_order() -> None:
    for order in (1, -1):
        drafts = [draft("out", "in"), draft("in", members=("ws-1",))][::order]
        assert len((await apply(await store_with(), *drafts)).actions) == 2


async def test_what_is_wrong_with_nesting_is_told_together_with_all_else() -> None:
    store = await store_with(a_group("in"), a_group("people", type=GroupType.USER))
    problems = await refused(
        store,
        draft("a", "nobody", "", "people"),
        draft("", "nobody"),
        draft("b", "in", "c", type=None),
        draft("c", "b", scope_tags=("",)),
        draft("d", "people", type=None),
    )
    assert set(problems) == {
        "groups[0].groups[0]",
        "groups[0].groups[1]",
        "groups[0].groups[2]",
        "groups[1].name",
        "groups[2].type",
        "groups[2].groups[1]",
        "groups[3].scope_tags[0]",
        "groups[3].groups[0]",
        "groups[4].type",
    }


async def test_who_may_not_apply_a_group_learns_nothing_of_its_nesting_from_other_problems() -> None:
    store = await store_with(a_group("mine", scope_tags=("emea",)), a_group("theirs", scope_tags=("apac",)))
    await keep(store, a_group("parent", groups=("theirs",), scope_tags=("apac",)))
    assert set(await refused(store, draft("theirs", "mine"), draft(""), standing=EMEA)) == {"groups[1].name"}


async def test_a_group_that_is_let_go_in_the_same_call_may_nest() -> None:
    store = await store_with(a_group("deep"), a_group("in"), a_group("out", groups=("in",)))
    await apply(store, draft("in", "deep"), draft("out"))
    assert store.kept.groups["in"].groups == ("deep",)


async def test_what_is_not_there_is_not_nested() -> None:
    store = await store_with(a_group("gone", deleted=True))
    assert await refused(store, draft("out", "gone", "nobody")) == {
        "groups[0].groups[0]": 'there is no group "gone"; make it first or together with this one, or correct the name',
        "groups[0].groups[1]": 'there is no group "nobody"; make it first or together with this one, or correct the name',
    }


async def test_what_the_caller_does_not_see_looks_like_what_is_not_there() -> None:
    store = await store_with(a_group("hidden", scope_tags=("apac",)))
    hidden = await refused(store, draft("out", "hidden"), standing=EMEA)
    absent = await refused(store, draft("out", "absent"), standing=EMEA)
    assert hidden == {field: message.replace("absent", "hidden") for field, message in absent.items()}


async def test_a_hidden_group_that_is_nested_already_stays() -> None:
    store = await store_with(
        a_group("hidden", scope_tags=("apac",)), a_group("out", groups=("hidden",), scope_tags=("emea",))
    )
    await apply(store, draft("out", "hidden", description="as before"), standing=EMEA)
    assert store.kept.groups["out"].description == "as before"


async def test_a_group_nests_groups_of_its_type() -> None:
    store = await store_with(a_group("people", type=GroupType.USER))
    assert await refused(store, draft("out", "people")) == {
        "groups[0].groups[0]": '"people" is a group of users; a group of devices nests groups of devices alone'
    }


async def test_groups_nest_one_level_deep() -> None:
    store = await store_with(a_group("deep"), a_group("in", groups=("deep",)), a_group("flat"))
    await apply(store, draft("out", "flat"))
    assert await refused(store, draft("out", "in")) == {
        "groups[0].groups[0]": '"in" itself nests "deep", and groups nest one level deep; name those here instead'
    }
    assert await refused(store, draft("flat", "deep")) == {
        "groups[0].groups": '"flat" is nested by "out", and groups nest one level deep; take it out of there first'
    }
    both = await refused(store, draft("flat", "deep"), draft("out", "flat"))
    assert list(both) == ["groups[1].groups[0]"]


async def test_a_parent_that_the_caller_does_not_see_is_not_named() -> None:
    store = await store_with(
        a_group("out", groups=("flat",), scope_tags=("apac",)),
        a_group("flat", scope_tags=("emea",)),
        a_group("deep", scope_tags=("emea",)),
    )
    problems = await refused(store, draft("flat", "deep"), standing=EMEA)
    assert problems["groups[0].groups"].startswith('"flat" is nested by groups that you do not see, ')


async def test_no_groups_nest_each_other() -> None:
    store = await store_with(a_group("b", groups=("c",)), a_group("c"))
    cycle = "nest each other, which has no end; take one out of the other"
    assert await refused(store, draft("c", "b")) == {
        "groups[0].groups[0]": f'"b" and "c" {cycle}',
        "groups[0].groups": '"c" is nested by "b", and groups nest one level deep; take it out of there first',
    }
    ring = await refused(store, draft("x", "y"), draft("y", "z"), draft("z", "x"))
    assert list(ring) == [f"groups[{number}].groups[0]" for number in range(3)]


def test_a_list_of_groups_is_checked_by_itself() -> None:
    drafts = [
        draft("a", "a", "all-devices", "b", "b", ""),
        draft("b", *(f"g{number}" for number in range(MAX_NESTED + 1))),
        draft("c", "a", filter="os = linux"),
    ]
    assert [problem.field for problem in check_drafts(drafts)] == [
        "groups[0].groups[0]",
        "groups[0].groups[1]",
        "groups[0].groups[3]",
        "groups[0].groups[4]",
        "groups[1].groups",
        "groups[2].filter",
    ]


async def test_a_nested_group_is_not_deleted_and_those_that_nest_it_are_named() -> None:
    store = await store_with(
        a_group("in"), a_group("a", groups=("in",)), a_group("b", groups=("in",), scope_tags=("apac",))
    )
    before = store.kept
    with pytest.raises(
        StateError, match='"in" is nested by "a", "b"; take it out of there first'.replace(", ", " and ")
    ) as told:
        await delete_group(store, "in", permit=EVERYWHERE, standing=FREE, now=NOW)
    assert (told.value.reason, store.kept) == ("GROUP_NESTED", before)
    default = Standing(lambda right: permit(right, tags=("default",)), lambda _: ())
    with pytest.raises(StateError, match='nested by "a" and groups that you do not see'):
        await delete_group(store, "in", permit=EVERYWHERE, standing=default, now=NOW)
    for parent in ("a", "b"):
        await delete_group(store, parent, permit=EVERYWHERE, standing=FREE, now=NOW)
    await delete_group(store, "in", permit=EVERYWHERE, standing=FREE, now=NOW)
    assert all(group.deleted and not group.groups for group in store.kept.groups.values())


async def test_who_joins_a_nested_group_comes_under_the_rights_over_those_that_nest_it() -> None:
    def beyond(group: str) -> tuple[str, ...]:
        return ("devices.retire",) if group == "reach" else ()

    def check(right: str) -> Permit:
        return permit(right, tags=("emea",))

    free = {"scope_tags": ("emea",)}
    store = await store_with(a_group("in", **free), a_group("reach", groups=("in",)), a_group("out", **free))  # type: ignore[arg-type]
    standing, before = Standing(check, beyond), store.kept
    with pytest.raises(
        DeniedError, match=r'a group that nests "in" \(groups that you do not see\) is a scope group'
    ) as told:
        await apply(store, draft("in", members=("ws-1",)), standing=standing)
    assert (told.value.reason, store.kept) == ("GRANT_EXCEEDS_OWN_RIGHTS", before)
    with pytest.raises(DeniedError, match=r'\("reach"\) is a scope group of role assignments.*devices.retire'):
        await apply(store, draft("in", members=("ws-1",)), standing=Standing(lambda _: EVERYWHERE, beyond))
    await apply(store, draft("in", description="the same members"), draft("out", "in"), standing=standing)


names = st.sampled_from(["a", "b", "c", "d"])
graphs = st.dictionaries(names, st.sets(names), max_size=4)


@given(graphs, graphs)
def test_what_is_let_through_nests_one_level_deep(there: Mapping[str, set[str]], asked: Mapping[str, set[str]]) -> None:
    held = {
        name: a_group(name, groups=tuple(sorted(inner)))
        for name, inner in there.items()
        if all(other in there and other != name and not there[other] for other in inner)
    }
    held = {name: group for name, group in held.items() if all(inner in held for inner in group.groups)}
    drafts = [draft(name, *sorted(inner)) for name, inner in asked.items()]
    nested_by = {
        name: "others"
        for name in asked
        if any(name in group.groups for group in held.values() if group.name not in asked)
    }
    after = {**{name: group.groups for name, group in held.items()}, **{each.name: each.groups for each in drafts}}
    flat = all(
        inner in after and inner != name and not after[inner] for name, groups in after.items() for inner in groups
    )
    problems = [*check_drafts(drafts), *check_nesting(drafts, held, nested_by)]
    assert (not problems) is flat
