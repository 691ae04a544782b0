"""Members of groups, users, and what a device is in, as administrators ask for them."""

from epm.device.v1 import agent_pb2, devices_pb2, groups_pb2
from tests.builders.device_service import DeviceService
from tests.builders.refusals import refusal_of

Metadata = tuple[tuple[str, str], ...]


async def apply(service: DeviceService, *groups: groups_pb2.Group) -> None:
    await service.groups.ApplyGroups(groups_pb2.ApplyGroupsRequest(groups=groups), metadata=service.owner)


async def members(
    service: DeviceService, name: str, who: Metadata = (), **page: object
) -> list[groups_pb2.GroupMember]:
    request = groups_pb2.ListGroupMembersRequest(name=name, **page)  # type: ignore[arg-type]
    return list((await service.groups.ListGroupMembers(request, metadata=who or service.owner)).members)


def devices(name: str, *names: str, **values: object) -> groups_pb2.Group:
    return groups_pb2.Group(name=name, type=groups_pb2.GROUP_TYPE_DEVICE, members=names, **values)  # type: ignore[arg-type]


def users(name: str, *names: str, **values: object) -> groups_pb2.Group:
    return groups_pb2.Group(name=name, type=groups_pb2.GROUP_TYPE_USER, members=names, **values)  # type: ignore[arg-type]


async def test_groups_in_groups_are_kept_and_their_members_listed(service: DeviceService) -> None:
    device = await service.enrol("ws-1")
    fleet = devices("fleet", "ws-9", groups=["linux"], scope_tags=["default"])
    await apply(service, fleet, devices("linux", filter='os = "linux"'))
    shown = await service.groups.GetGroup(groups_pb2.GetGroupRequest(name="fleet"), metadata=service.owner)
    fleet.etag = shown.group.etag
    assert shown.group == fleet
    assert await members(service, "fleet") == [
        groups_pb2.GroupMember(
            name="ws-1", device_id=device.device_id, kind=groups_pb2.MEMBERSHIP_KIND_NESTED, by_group="linux"
        ),
        groups_pb2.GroupMember(name="ws-9", kind=groups_pb2.MEMBERSHIP_KIND_LISTED),
    ]
    (found,) = await members(service, "linux")
    assert found.kind == groups_pb2.MEMBERSHIP_KIND_FOUND


async def test_bad_nesting_is_told_with_all_its_problems(service: DeviceService) -> None:
    await apply(service, users("people"))
    refusal = await refusal_of(apply(service, devices("a", groups=["people", "nobody"]), devices("b", groups=["b"])))
    assert refusal.code == "INVALID_ARGUMENT"
    assert refusal.fields == {"groups[0].groups[0]", "groups[0].groups[1]", "groups[1].groups[0]"}
    refusal = await refusal_of(apply(service, devices("a", groups=["people", "nobody"])))
    assert refusal.fields == {"groups[0].groups[0]", "groups[0].groups[1]"}


async def test_a_nested_group_stays_until_it_is_let_go(service: DeviceService) -> None:
    await apply(service, devices("in"), devices("out", groups=["in"]))
    deletion = groups_pb2.DeleteGroupRequest(name="in")
    refusal = await refusal_of(service.groups.DeleteGroup(deletion, metadata=service.owner))
    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "GROUP_NESTED")
    await apply(service, devices("out"))
    await service.groups.DeleteGroup(deletion, metadata=service.owner)


async def test_members_of_a_group_of_devices_take_the_right_to_see_devices(service: DeviceService) -> None:
    await apply(service, devices("fleet", "ws-1"), users("people", "alice"))
    reader = service.may("groups.read")
    refusal = await refusal_of(members(service, "fleet", reader))
    assert (refusal.code, refusal.reason) == ("PERMISSION_DENIED", "RIGHT_MISSING")
    assert [member.name for member in await members(service, "people", reader)] == ["alice"]
    emea = service.may("groups.read", "devices.read", tags=("emea",))
    hidden, absent = await refusal_of(members(service, "fleet", emea)), await refusal_of(members(service, "no", emea))
    assert hidden == absent


async def test_a_device_is_shown_with_its_groups_and_with_what_filters_see_of_it(service: DeviceService) -> None:
    token = await service.token(tags=["finance"])
    await service.enrol("ws-1", token=token, facts=agent_pb2.DeviceFacts(os="linux", os_version="6.1"))
    await apply(
        service,
        devices("finance", filter='tag = "finance"'),
        devices("named", "ws-1", scope_tags=["emea"]),
        devices("fleet", groups=["finance"]),
        devices("windows", filter="os = windows"),
    )
    device = await service.device("ws-1")
    assert list(device.groups) == ["finance", "fleet", "named"]
    assert [(each.name, list(each.values), each.attested) for each in device.attributes] == [
        ("name", ["ws-1"], True),
        ("os", ["linux"], False),
        ("osVersion", ["6.1"], False),
        ("tag", ["finance"], True),
    ]


async def test_users_are_listed_from_devices_and_groups_that_the_caller_sees(service: DeviceService) -> None:
    token = await service.token(users=["alice"], allow_reported_users=True, scope_tags=["emea"])
    await service.enrol("ws-1", token=token, facts=agent_pb2.DeviceFacts(os="linux", users=["bob"]))
    await apply(service, users("staff", "carol", "alice"))

    async def known(who: Metadata) -> list[tuple[str, list[str], list[str], list[str]]]:
        answer = await service.devices.ListUsers(devices_pb2.ListUsersRequest(), metadata=who)
        return [
            (user.name, list(user.bound_devices), list(user.reported_devices), list(user.groups))
            for user in answer.users
        ]

    assert await known(service.owner) == [
        ("alice", ["ws-1"], [], ["staff"]),
        ("bob", [], ["ws-1"], []),
        ("carol", [], [], ["staff"]),
    ]
    assert await known(service.may("devices.read")) == [("alice", ["ws-1"], [], []), ("bob", [], ["ws-1"], [])]
    assert await known(service.may("devices.read", "groups.read", tags=("apac",))) == []
    assert [user[0] for user in await known(service.may("devices.read", "groups.read", tags=("emea",)))] == [
        "alice",
        "bob",
    ]


async def test_users_come_in_pages(service: DeviceService) -> None:
    await apply(service, users("staff", "a", "b", "c"))
    request = devices_pb2.ListUsersRequest(page_size=2)
    first = await service.devices.ListUsers(request, metadata=service.owner)
    request.page_token = first.next_page_token
    second = await service.devices.ListUsers(request, metadata=service.owner)
    assert [[user.name for user in page.users] for page in (first, second)] == [["a", "b"], ["c"]]
    assert second.next_page_token == ""


async def test_members_come_in_pages(service: DeviceService) -> None:
    await apply(service, devices("fleet", "a", "b", "c"))
    request = groups_pb2.ListGroupMembersRequest(name="fleet", page_size=2)
    first = await service.groups.ListGroupMembers(request, metadata=service.owner)
    assert [member.name for member in first.members] == ["a", "b"]
    assert [member.name for member in await members(service, "fleet", page_token=first.next_page_token)] == ["c"]


async def test_a_dynamic_group_follows_a_check_in(service: DeviceService) -> None:
    device = await service.enrol("ws-1", facts=agent_pb2.DeviceFacts(os="linux"))
    await apply(service, devices("linux", filter="os = linux"), devices("fleet", groups=["linux"]))
    assert [member.name for member in await members(service, "fleet")] == ["ws-1"]
    await service.check_in(device.identity, facts=agent_pb2.DeviceFacts(os="windows"))
    assert await members(service, "fleet") == []
    assert list((await service.device("ws-1")).groups) == []
