"""Who is in a group, and which groups a device is in."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import elevation.model
from elevation.model import Attributes, GroupType
from services._chassis.errors import DeniedError, InvalidError, NotFoundError
from services._chassis.paging import Page
from services._chassis.permits import Permit
from services.device.model.devices import Attested, Device, Facts, Ownership
from services.device.model.groups import Group
from services.device.model.members import Attribute, Member, MemberKind, described
from services.device.usecases.members import BATCH, MOST_ASKED, groups_of, list_members
from services.device.usecases.visibility import Standing
from tests.builders.device_database import keep
from tests.builders.devices import FREE, LINUX, a_device, a_group
from tests.builders.nesting import NAMES, attributes, has_device, has_user, nested_groups
from tests.builders.nesting import described as some_device
from tests.fakes.access import permit
from tests.fakes.device import MemoryStore

EVERYWHERE = permit(everything=True)
LISTED, FOUND, NESTED = MemberKind.LISTED, MemberKind.FOUND, MemberKind.NESTED


def standing(right: str, within: Permit | None) -> Standing:
    """Stand as an Owner does, but for one right; None: without it."""

    def check(asked: str) -> Permit:
        if asked != right:
            return EVERYWHERE
        if within is None:
            raise DeniedError(f"needs {right}", reason="RIGHT_MISSING")
        return within

    return Standing(check, lambda _: ())


async def store_with(*items: Device | Group) -> MemoryStore:
    store = MemoryStore()
    await keep(store, *items)
    return store


async def page(
    store: MemoryStore,
    name: str = "kiosks",
    *,
    by: Standing = FREE,
    may: Permit = EVERYWHERE,
    size: int = 0,
    token: str = "",
) -> Page[Member]:
    return await list_members(store, name, permit=may, standing=by, page_size=size, page_token=token)


async def members(store: MemoryStore, name: str = "kiosks", *, by: Standing = FREE, size: int = 0) -> list[Member]:
    """Return all members, page by page."""
    found: list[Member] = []
    token = ""
    while True:
        one = await page(store, name, by=by, size=size, token=token)
        assert len(one.items) <= (size or 50)
        found.extend(one.items)
        token = one.next_token
        if not token:
            return found


async def test_members_are_listed_found_or_in_a_nested_group() -> None:
    store = await store_with(
        a_device("d1"),
        a_device("d2"),
        a_device("d3", facts=replace(LINUX, os="windows")),
        a_device("d4", retired=True),
        a_group("kiosks", "ws-d1", "gone", groups=("lab", "linux")),
        a_group("lab", "ws-d3", "ws-d2"),
        a_group("linux", filter="os = linux"),
    )
    assert await members(store) == [
        Member("gone", LISTED),
        Member("ws-d1", LISTED, "d1"),
        Member("ws-d2", NESTED, "d2", "lab"),
        Member("ws-d3", NESTED, "d3", "lab"),
    ]
    assert await members(store, "linux") == [Member("ws-d1", FOUND, "d1"), Member("ws-d2", FOUND, "d2")]


async def test_members_of_a_group_of_users_are_users_whatever_devices_are_called() -> None:
    store = await store_with(
        a_device("d1", "alice"),
        a_group("staff", "zoe", type=GroupType.USER, groups=("people",)),
        a_group("people", "alice", "zoe", type=GroupType.USER),
    )
    denied = standing("devices.read", None)
    assert await members(store, "staff", by=denied) == [Member("alice", NESTED, "", "people"), Member("zoe", LISTED)]


@pytest.mark.parametrize("size", [1, 2, 3])
async def test_members_come_in_pages_by_name_each_once(size: int) -> None:
    devices = [a_device(f"d{number}") for number in range(5)]
    store = await store_with(
        *devices, a_group("kiosks", "ws-d0", "a", "zz", groups=("all",)), a_group("all", "b", "ws-d3")
    )
    names = [member.name for member in await members(store, size=size)]
    assert names == ["a", "b", "ws-d0", "ws-d3", "zz"]
    await keep(store, a_group("all", filter="os = linux"))
    names = [member.name for member in await members(store, size=size)]
    assert names == ["a", *(f"ws-d{number}" for number in range(5)), "zz"]


async def test_devices_that_the_caller_does_not_see_are_left_out() -> None:
    store = await store_with(
        a_device("d1", scope_tags=("emea",)),
        a_device("d2", scope_tags=("apac",)),
        a_group("kiosks", "ws-d1", "ws-d2", "gone", groups=("linux",)),
        a_group("linux", filter="os = linux"),
    )
    emea = standing("devices.read", permit(tags=("emea",)))
    assert [member.name for member in await members(store, by=emea)] == ["gone", "ws-d1"]
    assert [member.name for member in await members(store, "linux", by=emea)] == ["ws-d1"]
    assert [member.name for member in await members(store, by=emea, size=1)] == ["gone", "ws-d1"]


async def test_members_are_for_those_who_may_see_the_group_and_devices() -> None:
    store = await store_with(a_group("kiosks", "ws-d1", scope_tags=("apac",)))
    with pytest.raises(NotFoundError):
        await page(store, may=permit(tags=("emea",)))
    with pytest.raises(NotFoundError):
        await page(store, "nobody")
    with pytest.raises(DeniedError):
        await page(store, by=standing("devices.read", None))
    with pytest.raises(InvalidError):
        await page(store, size=-1)
    with pytest.raises(InvalidError):
        await page(store, token="made-up")


async def test_a_token_of_one_group_is_none_of_another() -> None:
    store = await store_with(a_group("a", "x", "y"), a_group("b", "x", "y"))
    token = (await page(store, "a", size=1)).next_token
    with pytest.raises(InvalidError):
        await page(store, "b", size=1, token=token)


async def test_a_filter_that_finds_few_of_very_many_ends_its_page_early_and_goes_on() -> None:
    rare = replace(LINUX, os="plan9")
    count = MOST_ASKED + BATCH + 1
    store = await store_with(
        *(a_device(f"{number:05}") for number in range(count)),
        a_device("last", facts=rare),
        a_group(filter="os = plan9"),
    )
    first = await page(store)
    assert first.items == ()
    assert first.next_token
    assert [member.name for member in await members(store)] == ["ws-last"]


async def test_a_device_is_in_groups_by_name_by_filter_and_by_nesting() -> None:
    device = a_device("d1", attested=Attested(tags=("finance",)))
    store = await store_with(
        device,
        a_group("named", "ws-d1"),
        a_group("finance", filter='tag = "finance"'),
        a_group("sales", filter='tag = "sales"'),
        a_group("outer", groups=("finance", "sales")),
        a_group("hidden", groups=("named",), scope_tags=("apac",)),
        a_group("other", groups=("sales",)),
        a_group("people", "ws-d1", type=GroupType.USER),
        a_group("past", "ws-d1", deleted=True),
    )
    async with store.read() as work:
        assert await groups_of(work, device, standing=FREE) == ("finance", "hidden", "named", "outer")
        default = Standing(lambda _: permit(tags=("default",)), lambda _: ())
        assert await groups_of(work, device, standing=default) == ("finance", "named", "outer")
    retired = a_device("d1", retired=True, attested=Attested(tags=("finance",)))
    async with store.read() as work:
        assert await groups_of(work, retired, standing=FREE) == ()


def test_what_filters_see_of_a_device_says_who_says_it() -> None:
    device = a_device(
        facts=Facts(os="linux", os_version="6.1"),
        attested=Attested(tags=("emea", "finance"), ownership=Ownership.PERSONAL),
    )
    assert described(device) == (
        Attribute("name", ("ws-d1",), attested=True),
        Attribute("os", ("linux",), attested=False),
        Attribute("osVersion", ("6.1",), attested=False),
        Attribute("ownership", ("personal",), attested=True),
        Attribute("tag", ("emea", "finance"), attested=True),
    )


def kept(group: elevation.model.Group) -> Group:
    return Group(name=group.name, type=group.type, members=group.members, filter=group.filter, groups=group.groups)


def enrolled(who: Attributes) -> Device:
    facts = Facts(os=str(who["os"]), os_version=str(who["osVersion"]))
    return a_device(str(who["name"]), str(who["name"]), facts=facts, attested=Attested(tags=tuple(who["tag"])))


@given(nested_groups(), st.lists(some_device, unique_by=lambda who: str(who["name"])), st.integers(1, 3))
@settings(deadline=None)
def test_members_are_those_of_the_groups_written_out(
    groups: Mapping[str, elevation.model.Group], who: list[Attributes], size: int
) -> None:
    there = {str(each["name"]): each for each in who}

    def expected(name: str) -> list[str]:
        if groups[name].type is GroupType.USER:
            return [user for user in NAMES if has_user(groups, name, user)]
        unknown = {device: {**attributes(device), "os": "", "osVersion": "", "tag": ()} for device in NAMES}
        listed = {key: group for key, group in groups.items() if not group.filter}
        bare = {key: replace(g, groups=tuple(n for n in g.groups if n in listed)) for key, g in listed.items()}
        named = {each for each in NAMES if name in bare and has_device(bare, name, unknown[each])}
        return sorted(named | {each for each, seen in there.items() if has_device(groups, name, seen)})

    async def look() -> None:
        store = await store_with(*map(enrolled, who), *map(kept, groups.values()))
        for name in groups:
            assert [member.name for member in await members(store, name, size=size)] == expected(name)
        async with store.read() as work:
            for each, seen in there.items():
                device = await work.devices.named(each)
                assert device is not None
                inside = tuple(sorted(name for name in groups if has_device(groups, name, seen)))
                assert await groups_of(work, device, standing=FREE) == inside

    asyncio.run(look())
