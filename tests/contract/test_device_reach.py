"""What every store of the device service knows of the groups that policies use: in memory, on SQLite and on PostgreSQL."""

from elevation.model import GroupType
from services.device.model.used_groups import UsedGroup, UsedGroups
from services.device.ports import Store
from tests.builders.device_database import keep
from tests.builders.devices import a_device, a_group


async def test_the_groups_that_policies_use_come_back_as_they_went_in_and_are_replaced(device_store: Store) -> None:
    told = UsedGroups(2**40, (UsedGroup("all-devices", ('tag = "zoë"', "os = linux")), UsedGroup("k", any_filter=True)))
    async with device_store.read() as work:
        assert await work.groups.used() == UsedGroups()
    for used in (told, UsedGroups(1)):
        await keep(device_store, used)
        async with device_store.read() as work:
            assert await work.groups.used() == used
            assert await work.current_revision() == 0


async def test_groups_that_list_users_or_have_a_filter_are_found_among_very_many_names(device_store: Store) -> None:
    people, dynamic = a_group("people", "alice", type=GroupType.USER), a_group("dynamic", filter="os = linux")
    gone = a_group("gone", type=GroupType.USER, deleted=True)
    await keep(device_store, people, dynamic, gone, a_group("listed", "ws-1"), a_group("other", filter="os = linux"))
    asked = ["people", *(f"g{number}" for number in range(40_000)), "gone", "listed", "dynamic"]
    async with device_store.read() as work:
        assert await work.memberships.reaching(iter(asked)) == {"people": [people], "dynamic": [dynamic]}
        assert await work.memberships.reaching([]) == {}


async def test_groups_reach_by_those_that_they_nest(device_store: Store) -> None:
    dynamic, listed = a_group("dynamic", filter="os = linux"), a_group("listed", "ws-1")
    other = a_group("other", filter="os = windows")
    parents = a_group("both", "ws-2", groups=("dynamic", "listed", "other")), a_group("one", groups=("dynamic",))
    await keep(device_store, dynamic, listed, other, *parents)
    async with device_store.read() as work:
        assert await work.memberships.reaching(["both", "one", "listed", "dynamic"]) == {
            "both": [dynamic, other],
            "one": [dynamic],
            "dynamic": [dynamic],
        }


async def test_the_groups_that_nest_a_group_are_known_until_they_let_it_go(device_store: Store) -> None:
    await keep(device_store, a_group("in"), a_group("a", groups=("in", "other")), a_group("b", groups=("in",)))
    async with device_store.read() as work:
        assert await work.memberships.nesting(["in", "a", "none"]) == {"in": {"a", "b"}}
    await keep(device_store, a_group("a", groups=("other",)), a_group("b", deleted=True))
    async with device_store.read() as work:
        assert await work.memberships.nesting(["in", "other"]) == {"other": {"a"}}


async def test_the_groups_that_concern_a_device_list_it_or_have_a_filter(device_store: Store) -> None:
    listing, dynamic = a_group("listing", "ws-1", "ws-2"), a_group("dynamic", filter="os = linux")
    people = a_group("people", "ws-1", type=GroupType.USER)
    await keep(device_store, listing, dynamic, people, a_group("none", "ws-2"), a_group("parent", groups=("listing",)))
    async with device_store.read() as work:
        assert await work.memberships.concerning("ws-1") == [dynamic, listing]
    await keep(device_store, a_group("listing", "ws-2"))
    async with device_store.read() as work:
        assert await work.memberships.concerning("ws-1") == [dynamic]


async def test_enrolled_devices_are_found_by_name_and_come_in_its_order(device_store: Store) -> None:
    old, new = a_device("d1", "b", retired=True), a_device("d2", "b")
    first, hidden = a_device("d3", "a"), a_device("d4", "c", scope_tags=("emea",))
    await keep(device_store, old, new, first, hidden)
    async with device_store.read() as work:
        assert await work.memberships.enrolled(["b", "c", "x"]) == {"b": new, "c": hidden}
        assert await work.memberships.enrolled_after("", None, limit=2) == [first, new]
        assert await work.memberships.enrolled_after("a", None, limit=9) == [new, hidden]
        assert await work.memberships.enrolled_after("", frozenset({"default"}), limit=9) == [first, new]
        assert await work.memberships.enrolled_after("", frozenset(), limit=9) == []
