"""Every kind of object that carries scope tags, made, looked at and changed over gRPC."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from epm.device.v1 import devices_pb2, devices_pb2_grpc, groups_pb2, groups_pb2_grpc
from epm.elevation.v1 import rules_pb2, settings_pb2
from epm.policy.v1 import policies_pb2, policies_pb2_grpc
from epm.reporting.v1 import agent_pb2_grpc, reports_pb2, reports_pb2_grpc
from tests.builders.elevation import pem
from tests.builders.whole import Metadata, Whole
from tests.fakes.reporting import DeviceStream, decided

Create = Callable[[Whole, Metadata, str, Iterable[str]], Awaitable[str]]
Verb = Callable[[Whole, Metadata, str], Awaitable[Any]]
NO_TARGETS = policies_pb2.Assignments()


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind: how it is made, and the calls that name one object, each with the right that it asks for."""

    name: str
    making: str
    """The right that making one takes."""
    create: Create
    """Makes one with these tags, or with the creator's, and returns what names it."""
    reading: str
    """The right that seeing one takes."""
    tags: Callable[[Whole, Metadata, str], Awaitable[list[str] | None]]
    """Returns its scope tags; None where the kind shows none."""
    listed: Callable[[Whole, Metadata], Awaitable[set[str]]]
    """Names all that the caller sees."""
    verbs: Mapping[str, tuple[str, Verb]] = field(default_factory=dict)


def _policies(house: Whole) -> Any:
    return policies_pb2_grpc.PolicyServiceStub(house.public)


def _devices(house: Whole) -> Any:
    return devices_pb2_grpc.DeviceServiceStub(house.public)


def _groups(house: Whole) -> Any:
    return groups_pb2_grpc.GroupServiceStub(house.public)


def _reports(house: Whole) -> Any:
    return reports_pb2_grpc.ReportingServiceStub(house.public)


def _authored(noun: str, many: str, **content: Any) -> Kind:
    """Make the kind of what the policy service keeps; `noun` is as in `SettingsPolicy`."""
    snake = {"SettingsPolicy": "settings_policy", "RulesPolicy": "rules_policy"}.get(noun, "reusable_certificate")

    def made(name: str, tags: Iterable[str] = (), etag: str = "") -> dict[str, Any]:
        about = policies_pb2.Metadata(name=name, scope_tags=tags, etag=etag)
        return {snake: getattr(policies_pb2, noun)(metadata=about, **content)}

    async def call(verb: str, house: Whole, who: Metadata, **values: Any) -> Any:
        request = getattr(policies_pb2, f"{verb}Request")(**values)
        return await getattr(_policies(house), verb)(request, metadata=who)

    async def create(house: Whole, who: Metadata, name: str, tags: Iterable[str]) -> str:
        await call(f"Create{noun}", house, who, **made(name, tags))
        return name

    async def tags(house: Whole, who: Metadata, name: str) -> list[str]:
        return list(getattr(await call(f"Get{noun}", house, who, name=name), snake).metadata.scope_tags)

    async def listed(house: Whole, who: Metadata) -> set[str]:
        found = await call(f"List{many}", house, who)
        return (
            {one.metadata.name for one in next(value for _, value in found.ListFields())}
            if found.ListFields()
            else set()
        )

    verbs: dict[str, tuple[str, Verb]] = {
        "get": ("policy_authoring.read", lambda house, who, name: call(f"Get{noun}", house, who, name=name)),
        "update": (
            "policy_authoring.update",
            lambda house, who, name: call(f"Update{noun}", house, who, **made(name, etag="1")),
        ),
        "delete": (
            "policy_authoring.delete",
            lambda house, who, name: call(f"Delete{noun}", house, who, name=name),
        ),
    }
    if noun != "ReusableCertificate":
        verbs["assign"] = (
            "policy_authoring.assign",
            lambda house, who, name: call(f"Assign{noun}", house, who, name=name, assignments=NO_TARGETS),
        )
    return Kind(
        name=noun,
        making="policy_authoring.create",
        create=create,
        reading="policy_authoring.read",
        tags=tags,
        listed=listed,
        verbs=verbs,
    )


async def _create_group(house: Whole, who: Metadata, name: str, tags: Iterable[str]) -> str:
    group = groups_pb2.Group(name=name, type=groups_pb2.GROUP_TYPE_DEVICE, scope_tags=tags)
    await _groups(house).ApplyGroups(groups_pb2.ApplyGroupsRequest(groups=[group]), metadata=who)
    return name


async def _group(house: Whole, who: Metadata, name: str) -> Any:
    return (await _groups(house).GetGroup(groups_pb2.GetGroupRequest(name=name), metadata=who)).group


async def _tags_of_group(house: Whole, who: Metadata, name: str) -> list[str]:
    return list((await _group(house, who, name)).scope_tags)


async def _listed_groups(house: Whole, who: Metadata) -> set[str]:
    found = await _groups(house).ListGroups(groups_pb2.ListGroupsRequest(), metadata=who)
    return {group.name for group in found.groups}


async def _create_token(house: Whole, who: Metadata, _name: str, tags: Iterable[str]) -> str:
    return (await house.enrolment_token(who, scope_tags=tags)).enrolment_token.token_id


async def _tokens(house: Whole, who: Metadata) -> dict[str, list[str]]:
    found = await _devices(house).ListEnrolmentTokens(devices_pb2.ListEnrolmentTokensRequest(), metadata=who)
    return {token.token_id: list(token.scope_tags) for token in found.enrolment_tokens}


async def _listed_tokens(house: Whole, who: Metadata) -> set[str]:
    return set(await _tokens(house, who))


async def _tags_of_token(house: Whole, who: Metadata, name: str) -> list[str] | None:
    return (await _tokens(house, who)).get(name)


async def _create_device(house: Whole, who: Metadata, name: str, tags: Iterable[str]) -> str:
    return (await house.enrol(name, await house.enrolment_token(who, scope_tags=tags))).device_id


async def _device(house: Whole, who: Metadata, device_id: str) -> Any:
    return (await _devices(house).GetDevice(devices_pb2.GetDeviceRequest(device=device_id), metadata=who)).device


async def _tags_of_device(house: Whole, who: Metadata, device_id: str) -> list[str]:
    return list((await _device(house, who, device_id)).scope_tags)


async def _listed_devices(house: Whole, who: Metadata) -> set[str]:
    found = await _devices(house).ListDevices(devices_pb2.ListDevicesRequest(), metadata=who)
    return {device.device_id for device in found.devices}


def _update_device(house: Whole, who: Metadata, device_id: str) -> Awaitable[Any]:
    device = devices_pb2.Device(device_id=device_id, tags=["new"], etag="1")
    updated: Awaitable[Any] = _devices(house).UpdateDevice(devices_pb2.UpdateDeviceRequest(device=device), metadata=who)
    return updated


async def _create_report(house: Whole, who: Metadata, name: str, tags: Iterable[str]) -> str:
    device = await house.enrol(f"ws-{name}", await house.enrolment_token(who, scope_tags=tags))
    async with house.mesh(device.identity) as channel:
        stream = DeviceStream(agent_pb2_grpc.EventStreamServiceStub(channel).StreamEvents())
        await stream.hello()
        await stream.send([decided(house.next_number(), at=datetime.now(UTC), attempt=name)])
        await stream.acknowledged(1)
    return name


async def _no_tags(_house: Whole, _who: Metadata, _name: str) -> None:
    return None


async def _listed_reports(house: Whole, who: Metadata) -> set[str]:
    found = await _reports(house).ListElevations(reports_pb2.ListElevationsRequest(), metadata=who)
    return {elevation.attempt_id for elevation in found.elevations}


KINDS = (
    _authored(
        "SettingsPolicy",
        "SettingsPolicies",
        settings=settings_pb2.ElevationSettings(enabled=True, default_response=settings_pb2.DEFAULT_RESPONSE_DENY),
    ),
    _authored("RulesPolicy", "RulesPolicies", platform=rules_pb2.PLATFORM_WINDOWS),
    _authored("ReusableCertificate", "ReusableCertificates", pem=pem("vendor")),
    Kind(
        name="Group",
        making="groups.create",
        create=_create_group,
        reading="groups.read",
        tags=_tags_of_group,
        listed=_listed_groups,
        verbs={
            "get": ("groups.read", _group),
            "delete": (
                "groups.delete",
                lambda house, who, name: _groups(house).DeleteGroup(
                    groups_pb2.DeleteGroupRequest(name=name), metadata=who
                ),
            ),
        },
    ),
    Kind(
        name="Device",
        making="devices.enroll",
        create=_create_device,
        reading="devices.read",
        tags=_tags_of_device,
        listed=_listed_devices,
        verbs={
            "get": ("devices.read", _device),
            "update": ("devices.update", _update_device),
            "retire": (
                "devices.retire",
                lambda house, who, device_id: _devices(house).RetireDevice(
                    devices_pb2.RetireDeviceRequest(device_id=device_id), metadata=who
                ),
            ),
        },
    ),
    Kind(
        name="EnrolmentToken",
        making="devices.enroll",
        create=_create_token,
        reading="devices.enroll",
        tags=_tags_of_token,
        listed=_listed_tokens,
        verbs={
            "revoke": (
                "devices.enroll",
                lambda house, who, token_id: _devices(house).RevokeEnrolmentToken(
                    devices_pb2.RevokeEnrolmentTokenRequest(token_id=token_id), metadata=who
                ),
            ),
        },
    ),
    Kind(
        name="Report",
        making="devices.enroll",
        create=_create_report,
        reading="policy_authoring.view_reports",
        tags=_no_tags,
        listed=_listed_reports,
        verbs={
            "get": (
                "policy_authoring.view_reports",
                lambda house, who, attempt_id: _reports(house).GetElevation(
                    reports_pb2.GetElevationRequest(attempt_id=attempt_id), metadata=who
                ),
            ),
        },
    ),
)
