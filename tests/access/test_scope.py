"""Scope tags and scope groups, over TLS at the four services in one process, for every kind of object."""

from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from epm.device.v1 import devices_pb2, devices_pb2_grpc, groups_pb2, groups_pb2_grpc
from epm.elevation.v1 import settings_pb2
from epm.policy.v1 import policies_pb2, policies_pb2_grpc
from services._chassis.rights import RIGHT_NAMES
from tests.builders.kinds import KINDS
from tests.builders.refusals import read_refusal, refusal_of
from tests.builders.whole import Metadata, Whole, whole

POLICY = next(kind for kind in KINDS if kind.name == "SettingsPolicy")
RIGHTS = sorted(RIGHT_NAMES - {"roles.assign"})


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[Whole]:
    async with whole(tmp_path) as made:
        for tag in ("emea", "apac"):
            await made.hire(f"{tag}-all", RIGHTS, tags=[tag])
        await made.settled()
        yield made


async def everything_by(house: Whole, who: Metadata, suffix: str, *tags: str) -> dict[str, str]:
    """Make one object of every kind."""
    return {kind.name: await kind.create(house, who, f"{kind.name.lower()}-{suffix}", tags) for kind in KINDS}


async def test_an_object_inherits_the_tags_of_its_creator_or_default(house: Whole) -> None:
    for who, tags in ((house.tokens["emea-all"], ["emea"]), (house.owner, ["default"])):
        made = await everything_by(house, who, tags[0])
        for kind in KINDS:
            assert await kind.tags(house, who, made[kind.name]) in (tags, None), kind.name


async def test_an_object_is_seen_within_its_tags_alone(house: Whole) -> None:
    by_tag = {
        "emea": await everything_by(house, house.tokens["emea-all"], "emea"),
        "default": await everything_by(house, house.owner, "default"),
        "apac": await everything_by(house, house.owner, "apac", "apac"),
    }
    lookers = {
        ("emea",): house.tokens["emea-all"],
        ("apac",): house.tokens["apac-all"],
        ("default",): await house.hire("default-all", RIGHTS, tags=["default"]),
        ("apac", "emea"): await house.hire("both", RIGHTS, tags=["apac", "emea"]),
        ("default", "emea", "apac"): await house.hire("unrestricted", RIGHTS),
    }
    await house.settled()
    for seen, who in lookers.items():
        for kind in KINDS:
            wanted = {made[kind.name] for tag, made in by_tag.items() if tag in seen}
            # The devices of the reports are there too.
            known = {made[kind.name] for made in by_tag.values()}
            assert await kind.listed(house, who) & known == wanted, (kind.name, seen)


async def test_what_is_hidden_looks_as_if_it_were_not_there(house: Whole) -> None:
    made = await everything_by(house, house.owner, "hidden", "apac")
    emea = house.tokens["emea-all"]
    for kind in KINDS:
        for verb, (_, call) in kind.verbs.items():
            hidden = made[kind.name]
            absent = f"{hidden[:-1]}{'0' if hidden[-1] != '0' else '1'}"
            statuses = [await status_of(call(house, emea, name), name) for name in (hidden, absent)]
            assert statuses[0][0] == grpc.StatusCode.NOT_FOUND, (kind.name, verb)
            assert statuses[0] == statuses[1], (kind.name, verb)


async def status_of(call: Awaitable[Any], name: str) -> tuple[object, ...]:
    """Return everything that a refusal says, but the ids of the call and the name that was asked for."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    status = rpc_status.from_call(refused.value)  # type: ignore[arg-type]
    assert status is not None
    info = error_details_pb2.ErrorInfo()
    others = []
    for detail in status.details:
        if detail.Unpack(info):
            info.metadata.update(dict.fromkeys(("request_id", "decision_id"), ""))  # new for every call
        else:
            others.append(detail)
    trailing = refused.value.trailing_metadata() or ()
    keys = sorted(str(key) for key, _ in trailing)
    message = status.message.replace(name, "NAME")
    return refused.value.code(), message, info.reason, info.domain, dict(info.metadata), others, keys


async def test_what_is_hidden_can_be_changed_by_none_who_only_sees_it(house: Whole) -> None:
    made = await everything_by(house, house.owner, "seen", "apac")
    for kind in KINDS:
        others = RIGHT_NAMES - {"roles.assign"}
        for verb, (right, call) in kind.verbs.items():
            # Sees apac, but has the right of the verb for emea alone.
            who = f"{kind.name}-{verb}"
            await house.hire(who, others - {right}, part="sees", tags=["apac"])
            token = await house.hire(who, {right}, part="acts", tags=["emea"])
            await house.settled()
            refused = await status_of(call(house, token, made[kind.name]), made[kind.name])
            assert refused[0] == grpc.StatusCode.NOT_FOUND, (kind.name, verb)


async def test_a_right_of_one_assignment_is_not_seen_through_the_scope_of_another(house: Whole) -> None:
    made = await everything_by(house, house.owner, "foreign", "apac")
    for kind in KINDS:
        who = f"looker-{kind.name}"
        await house.hire(who, {kind.reading}, part="reads", tags=["emea"])
        token = await house.hire(who, RIGHT_NAMES - {kind.reading, "roles.assign"}, part="else", tags=["apac"])
        await house.settled()
        assert made[kind.name] not in await kind.listed(house, token), kind.name


async def test_nobody_gives_an_object_tags_that_are_not_theirs(house: Whole) -> None:
    emea = house.tokens["emea-all"]
    for kind in KINDS:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await kind.create(house, emea, f"{kind.name.lower()}-given", ("apac",))
        assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED, kind.name


async def test_a_device_cannot_be_handed_to_others_by_an_update(house: Whole) -> None:
    emea = house.tokens["emea-all"]
    device_id = (await house.enrol("ws-emea", await house.enrolment_token(emea))).device_id
    devices: Any = devices_pb2_grpc.DeviceServiceStub(house.public)
    read = (await devices.GetDevice(devices_pb2.GetDeviceRequest(device=device_id), metadata=emea)).device
    for tags, code in (
        ([], "INVALID_ARGUMENT"),
        (["default"], "PERMISSION_DENIED"),
        (["emea", "apac"], "PERMISSION_DENIED"),
    ):
        read.scope_tags[:] = tags
        refused = await refusal_of(devices.UpdateDevice(devices_pb2.UpdateDeviceRequest(device=read), metadata=emea))
        assert refused.code == code, tags


TARGETS: dict[str, tuple[list[str], list[str], bool]] = {
    "inside": (["laptops"], [], True),
    "inside, an exclusion too": (["laptops"], ["desktops"], True),
    "outside": (["kiosks"], [], False),
    "one of two outside": (["laptops", "kiosks"], [], False),
    "the exclusion outside": (["laptops"], ["kiosks"], False),
    "everybody": (["all-devices"], [], False),
    "none": ([], [], True),
}


async def test_policies_are_aimed_inside_the_scope_groups_alone_exclusions_included(house: Whole) -> None:
    groups = await groups_for(house, "laptops", "desktops", "kiosks")
    who = await house.hire("author", RIGHTS, groups=["laptops", "desktops"])
    await house.settled()
    stub: Any = policies_pb2_grpc.PolicyServiceStub(house.public)
    for number, (title, (include, exclude, good)) in enumerate(TARGETS.items()):
        targets = assignments(include, exclude)
        name = await POLICY.create(house, who, f"policy-{number}", ())
        request = policies_pb2.AssignSettingsPolicyRequest(name=name, assignments=targets)
        created = policy(f"created-{number}", targets)
        applied = policies_pb2.ApplyPoliciesRequest(
            settings_policies=[policy(f"applied-{number}", targets)], directory_revision=groups
        )
        found = {
            "assign": await outcome(stub.AssignSettingsPolicy(request, metadata=who)),
            "create": await outcome(
                stub.CreateSettingsPolicy(
                    policies_pb2.CreateSettingsPolicyRequest(settings_policy=created), metadata=who
                )
            ),
            "apply": await outcome(stub.ApplyPolicies(applied, metadata=who)),
        }
        assert set(found.values()) == {"OK" if good else "GROUP_OUT_OF_SCOPE"}, (title, found)


async def test_a_target_outside_the_scope_groups_cannot_be_taken_away_either(house: Whole) -> None:
    await groups_for(house, "laptops", "kiosks")
    who = await house.hire("author", RIGHTS, groups=["laptops"])
    await house.settled()
    stub: Any = policies_pb2_grpc.PolicyServiceStub(house.public)
    name = await POLICY.create(house, house.owner, "kiosk-policy", ())
    for include, exclude in ((["kiosks"], []), (["laptops"], ["kiosks"])):
        request = policies_pb2.AssignSettingsPolicyRequest(name=name, assignments=assignments(include, exclude))
        await stub.AssignSettingsPolicy(request, metadata=house.owner)
        cleared = policies_pb2.AssignSettingsPolicyRequest(name=name, assignments=assignments(["laptops"], []))
        assert await outcome(stub.AssignSettingsPolicy(cleared, metadata=who)) == "GROUP_OUT_OF_SCOPE"


async def test_scope_groups_of_one_assignment_do_not_serve_the_tags_or_the_right_of_another(house: Whole) -> None:
    await groups_for(house, "laptops", "kiosks")
    assign = "policy_authoring.assign"
    everything_else = RIGHT_NAMES - {assign, "roles.assign"}
    await house.hire("mixed", {assign}, part="emea", tags=["emea"], groups=["laptops"])
    await house.hire("mixed", {assign}, part="apac", tags=["apac"], groups=["kiosks"])
    who = await house.hire("mixed", everything_else, part="else", groups=["laptops", "kiosks"])
    await house.settled()
    stub: Any = policies_pb2_grpc.PolicyServiceStub(house.public)
    for tag, group, good in (
        ("emea", "laptops", True),
        ("emea", "kiosks", False),
        ("apac", "kiosks", True),
        ("apac", "laptops", False),
    ):
        name = await POLICY.create(house, house.owner, f"{tag}-{group}", (tag,))
        request = policies_pb2.AssignSettingsPolicyRequest(name=name, assignments=assignments([group], []))
        found = await outcome(stub.AssignSettingsPolicy(request, metadata=who))
        assert found == ("OK" if good else "GROUP_OUT_OF_SCOPE"), (tag, group)


async def groups_for(house: Whole, *names: str) -> int:
    """Make groups, and return the directory's revision once the policy service knows them."""
    stub: Any = groups_pb2_grpc.GroupServiceStub(house.public)
    made = [groups_pb2.Group(name=name, type=groups_pb2.GROUP_TYPE_DEVICE) for name in names]
    applied = await stub.ApplyGroups(groups_pb2.ApplyGroupsRequest(groups=made), metadata=house.owner)
    policies: Any = policies_pb2_grpc.PolicyServiceStub(house.public)
    known = policies_pb2.ApplyPoliciesRequest(validate_only=True, directory_revision=applied.directory_revision)
    await policies.ApplyPolicies(known, metadata=house.owner)
    return int(applied.directory_revision)


def assignments(include: list[str], exclude: list[str]) -> policies_pb2.Assignments:
    return policies_pb2.Assignments(
        include=[policies_pb2.IncludedGroup(group=name) for name in include],
        exclude=[policies_pb2.ExcludedGroup(group=name) for name in exclude],
    )


def policy(name: str, targets: policies_pb2.Assignments) -> policies_pb2.SettingsPolicy:
    settings = settings_pb2.ElevationSettings(enabled=True, default_response=settings_pb2.DEFAULT_RESPONSE_DENY)
    return policies_pb2.SettingsPolicy(
        metadata=policies_pb2.Metadata(name=name), settings=settings, assignments=targets
    )


async def outcome(call: Awaitable[Any]) -> str:
    """Return OK, or the reason of the refusal."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return read_refusal(error).reason
    return "OK"
