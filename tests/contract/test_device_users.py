"""What every store of the device service knows of users: in memory, on SQLite and on PostgreSQL."""

from dataclasses import replace

from elevation.model import GroupType
from services._chassis.paging import PageRequest, page_request
from services.device.model.devices import Attested, Device
from services.device.model.groups import Group
from services.device.model.users import MOST_DEVICES, KnownUser
from services.device.ports import Store, Tags
from tests.builders.device_database import keep
from tests.builders.devices import LINUX, a_device, a_group

NOTHING: Tags = frozenset()


def used_by(
    device_id: str, *bound: str, reported: tuple[str, ...] = (), retired: bool = False, tag: str = ""
) -> Device:
    device = a_device(device_id, attested=Attested(users=bound), retired=retired, scope_tags=(tag or "default",))
    return replace(device, facts=replace(LINUX, users=reported))


def people(name: str, *members: str, groups: tuple[str, ...] = (), tag: str = "default") -> Group:
    return a_group(name, *members, type=GroupType.USER, groups=groups, scope_tags=(tag,))


async def known(store: Store, devices: Tags = None, groups: Tags = None) -> tuple[KnownUser, ...]:
    async with store.read() as work:
        return (await work.users.page(PageRequest(100), devices=devices, groups=groups)).items


async def test_users_are_known_from_devices_and_groups(device_store: Store) -> None:
    await keep(
        device_store,
        used_by("d2", "alice", "zoë", reported=("bob",)),
        used_by("d1", "alice", reported=("alice",)),
        used_by("d3", "gone", retired=True),
        people("staff", "carol", "alice"),
        people("company", groups=("staff",)),
        a_group("devices", "no-user"),
    )
    assert await known(device_store) == (
        KnownUser("alice", ("ws-d1", "ws-d2"), ("ws-d1",), ("company", "staff")),
        KnownUser("bob", (), ("ws-d2",)),
        KnownUser("carol", (), (), ("company", "staff")),
        KnownUser("zoë", ("ws-d2",)),
    )


async def test_users_follow_what_names_them(device_store: Store) -> None:
    await keep(device_store, used_by("d1", "alice"), used_by("d2", "bob"), people("staff", "carol", "dave"))
    await keep(device_store, used_by("d1", "erin"), used_by("d2", "bob", retired=True), people("staff", "dave"))
    assert [user.name for user in await known(device_store)] == ["dave", "erin"]


async def test_a_deleted_device_names_nobody(device_store: Store) -> None:
    await keep(device_store, used_by("d1", "alice"))
    async with device_store.transaction() as work:
        await work.identities.bury("d1", await work.next_revision())
    assert await known(device_store) == ()


async def test_users_are_known_only_from_what_is_visible(device_store: Store) -> None:
    await keep(
        device_store,
        used_by("d1", "alice", "bob", tag="emea"),
        used_by("d2", "alice", tag="apac"),
        people("hidden", "alice", "carol", tag="apac"),
        people("seen", groups=("hidden",), tag="emea"),
    )
    emea = frozenset({"emea"})
    assert await known(device_store, emea, NOTHING) == (KnownUser("alice", ("ws-d1",)), KnownUser("bob", ("ws-d1",)))
    assert await known(device_store, NOTHING, emea) == (
        KnownUser("alice", groups=("seen",)),
        KnownUser("carol", groups=("seen",)),
    )
    assert await known(device_store, NOTHING, NOTHING) == ()


async def test_users_come_in_pages_by_name_each_once(device_store: Store) -> None:
    await keep(device_store, used_by("d1", "c", "a", "B", reported=("a",)), people("staff", "c", "d"))
    pages: list[list[str]] = []
    token = ""
    while not pages or token:
        async with device_store.read() as work:
            request = page_request(page_size=2, page_token=token)
            page = await work.users.page(request, devices=None, groups=None)
        pages.append([user.name for user in page.items])
        token = page.next_token
    assert pages == [["B", "a"], ["c", "d"]]


async def test_the_first_devices_of_a_user_are_named(device_store: Store) -> None:
    async with device_store.transaction() as work:
        await work.devices.save(*(used_by(f"d{number:03}", "alice") for number in range(MOST_DEVICES + 1)))
    (alice,) = await known(device_store)
    assert (len(alice.bound_devices), alice.bound_devices[0], alice.bound_devices[-1]) == (100, "ws-d000", "ws-d099")
