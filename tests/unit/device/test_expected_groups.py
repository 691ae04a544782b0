"""Groups that have to be as they were when a change of them was planned."""

from collections.abc import Sequence

import pytest

from epm.access.v1 import objects_pb2
from epm.device.v1 import groups_pb2
from tests.builders.device_service import DeviceService
from tests.builders.refusals import Refusal, refusal_of

Metadata = tuple[tuple[str, str], ...]


def group(name: str, *members: str, tags: Sequence[str] = ()) -> groups_pb2.Group:
    return groups_pb2.Group(name=name, type=groups_pb2.GROUP_TYPE_DEVICE, members=members, scope_tags=tags)


def expecting(name: str, etag: str, kind: str = "Group") -> objects_pb2.ExpectedObject:
    return objects_pb2.ExpectedObject(kind=kind, name=name, etag=etag)


async def apply(
    service: DeviceService,
    *groups: groups_pb2.Group,
    expected: Sequence[objects_pb2.ExpectedObject] = (),
    who: Metadata = (),
    validate_only: bool = False,
) -> groups_pb2.ApplyGroupsResponse:
    request = groups_pb2.ApplyGroupsRequest(groups=groups, expected=expected, validate_only=validate_only)
    return await service.groups.ApplyGroups(request, metadata=who or service.owner)


async def stale(service: DeviceService, *groups: groups_pb2.Group, **values: object) -> Refusal:
    return await refusal_of(apply(service, *groups, **values))  # type: ignore[arg-type]


async def etag(service: DeviceService, name: str) -> str:
    request = groups_pb2.GetGroupRequest(name=name)
    return (await service.groups.GetGroup(request, metadata=service.owner)).group.etag


async def test_an_etag_changes_with_the_content_alone(service: DeviceService) -> None:
    await apply(service, group("a", "ws-1"))
    first = await etag(service, "a")
    await apply(service, group("a", "ws-2"))
    second = await etag(service, "a")
    await apply(service, group("a", "ws-1"))
    assert (first != second, await etag(service, "a")) == (True, first)


async def test_lists_tell_the_same_etags(service: DeviceService) -> None:
    await apply(service, group("a", "ws-1"), group("b"))
    listed = await service.groups.ListGroups(groups_pb2.ListGroupsRequest(), metadata=service.owner)
    assert [one.etag for one in listed.groups] == [await etag(service, "a"), await etag(service, "b")]


async def test_groups_that_are_as_expected_are_replaced(service: DeviceService) -> None:
    await apply(service, group("a", "ws-1"))
    expected = [expecting("a", await etag(service, "a")), expecting("b", "")]
    applied = await apply(service, group("a", "ws-2"), group("b"), expected=expected)
    assert [one.action for one in applied.groups] == [groups_pb2.APPLY_ACTION_UPDATED, groups_pb2.APPLY_ACTION_CREATED]


@pytest.mark.parametrize("validate_only", [True, False])
async def test_all_that_differ_are_named_and_nothing_is_written(service: DeviceService, *, validate_only: bool) -> None:
    await apply(service, group("a", "ws-1"), group("there"), group("same"))
    before = await etag(service, "a")
    expected = [expecting("a", "old"), expecting("gone", "1"), expecting("there", "")]
    expected.append(expecting("same", await etag(service, "same")))
    refusal = await stale(service, group("a", "ws-2"), group("new"), expected=expected, validate_only=validate_only)
    assert (refusal.code, refusal.reason) == ("ABORTED", "STALE_ETAG")
    assert '"a" has changed' in refusal.message
    assert '"gone" is not there any more' in refusal.message
    assert '"there" is there already' in refusal.message
    assert '"same"' not in refusal.message
    assert await etag(service, "a") == before
    listed = await service.groups.ListGroups(groups_pb2.ListGroupsRequest(), metadata=service.owner)
    assert "new" not in [one.name for one in listed.groups]


async def test_a_group_that_the_caller_does_not_see_looks_like_one_that_is_not_there(service: DeviceService) -> None:
    await apply(service, group("hidden", tags=["emea"]))
    rights = ("groups.read", "groups.create", "groups.update")
    stranger = service.may(*rights, tags=("apac",))
    known = await stale(
        service, group("new"), expected=[expecting("hidden", await etag(service, "hidden"))], who=stranger
    )
    assert '"hidden" is not there any more' in known.message
    await apply(service, group("new"), expected=[expecting("hidden", "")], who=stranger)


async def test_who_may_not_read_groups_expects_nothing_of_them(service: DeviceService) -> None:
    writer = service.may("groups.create", "groups.update")
    refusal = await stale(service, group("new"), expected=[expecting("a", "")], who=writer)
    assert (refusal.code, refusal.reason) == ("PERMISSION_DENIED", "RIGHT_MISSING")


async def test_expectations_of_other_kinds_are_refused_with_the_other_problems(service: DeviceService) -> None:
    refusal = await stale(service, group(""), expected=[expecting("a", "", kind="Role")])
    assert refusal.code == "INVALID_ARGUMENT"
    assert refusal.fields >= {"groups[0].name", "expected[0].kind"}
