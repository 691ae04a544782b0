"""What every store of the device service knows of the groups that policies use: in memory, on SQLite and on PostgreSQL."""

from elevation.model import GroupType
from services.device.model.used_groups import UsedGroup, UsedGroups
from services.device.ports import Store
from tests.builders.device_database import keep
from tests.builders.devices import a_group


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
        assert await work.groups.reaching(iter(asked)) == {"people": people, "dynamic": dynamic}
        assert await work.groups.reaching([]) == {}
