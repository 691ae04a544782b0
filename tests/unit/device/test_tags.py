"""Groups, devices and enrolment tokens are given scope tags that there are; those that they carry may stay."""

import asyncio

from epm.device.v1 import devices_pb2, groups_pb2
from tests.builders.device_service import DeviceService
from tests.builders.refusals import refusal_of

MISSING = 'there is no scope tag "emaa"; make it first, or in one epm apply with this (kind ScopeTag)'


def group(name: str, *tags: str, **values: object) -> groups_pb2.Group:
    given = {"type": groups_pb2.GROUP_TYPE_DEVICE, **values}
    return groups_pb2.Group(name=name, scope_tags=tags, **given)  # type: ignore[arg-type]


def applying(*groups: groups_pb2.Group, **values: object) -> groups_pb2.ApplyGroupsRequest:
    return groups_pb2.ApplyGroupsRequest(groups=groups, **values)  # type: ignore[arg-type]


async def test_groups_are_given_tags_that_there_are_and_keep_those_they_have(service: DeviceService) -> None:
    await service.groups.ApplyGroups(applying(group("old", "emaa")), metadata=service.owner)
    service.access.tag("emea")
    asked = applying(group("old", "emaa", "emea", description="kept"), group("new", "default", "emaa"))
    refused = await refusal_of(service.groups.ApplyGroups(asked, metadata=service.owner))
    assert refused.problems == {"groups[1].scope_tags": MISSING}
    del asked.groups[1]
    await service.groups.ApplyGroups(asked, metadata=service.owner)


async def test_tags_that_there_are_not_are_told_with_everything_else(service: DeviceService) -> None:
    service.access.tag("emea")
    asked = applying(group("new", "emaa"), group("none", type=groups_pb2.GROUP_TYPE_UNSPECIFIED))
    refused = await refusal_of(service.groups.ApplyGroups(asked, metadata=service.owner))
    assert refused.fields == {"groups[0].scope_tags", "groups[1].type"}


async def test_who_may_not_give_a_tag_does_not_hear_whether_there_is_one(service: DeviceService) -> None:
    service.access.tag("emea", "apac")
    who = service.may("groups.create", tags=("emea",))
    for tag in ("apac", "emaa"):
        for values in ({}, {"pending_scope_tags": ["x"]}):
            refused = await refusal_of(service.groups.ApplyGroups(applying(group("new", tag), **values), metadata=who))
            assert MISSING not in refused.problems.values(), tag


async def test_pending_tags_count_while_groups_are_rehearsed_and_only_then(service: DeviceService) -> None:
    service.access.tag()
    asked = applying(group("new", "emaa"), pending_scope_tags=["emaa"], validate_only=True)
    await service.groups.ApplyGroups(asked, metadata=service.owner)
    asked.validate_only = False
    refused = await refusal_of(service.groups.ApplyGroups(asked, metadata=service.owner))
    assert refused.fields == {"pending_scope_tags"}


async def test_applying_groups_waits_for_the_revision_of_the_access_data(service: DeviceService) -> None:
    service.access.tag()
    asked = applying(group("new", "emaa"), access_revision=service.access.control.revision + 1)
    waiting = asyncio.ensure_future(service.groups.ApplyGroups(asked, metadata=service.owner))
    await service.groups.ListGroups(groups_pb2.ListGroupsRequest(), metadata=service.owner)
    assert not waiting.done()
    service.access.tag("emaa")
    await waiting


async def test_devices_and_enrolment_tokens_are_given_tags_that_there_are(service: DeviceService) -> None:
    device = (await service.enrol(token=await service.token(scope_tags=["gone"]))).answer.device_id
    service.access.tag("emea")
    wanted = devices_pb2.EnrolmentToken(quota=1, scope_tags=["emea", "emaa"])
    asked = devices_pb2.CreateEnrolmentTokenRequest(enrolment_token=wanted)
    refused = await refusal_of(service.devices.CreateEnrolmentToken(asked, metadata=service.owner))
    assert refused.problems == {"enrolment_token.scope_tags": MISSING}

    found = await service.device()
    assert found.device_id == device
    found.scope_tags[:] = ["emaa", "gone"]
    update = devices_pb2.UpdateDeviceRequest(device=found)
    refused = await refusal_of(service.devices.UpdateDevice(update, metadata=service.owner))
    assert refused.problems == {"device.scope_tags": MISSING}
    update.device.scope_tags[:] = ["emea", "gone"]
    await service.devices.UpdateDevice(update, metadata=service.owner)
