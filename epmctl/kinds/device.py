"""Devices, groups, users and enrolment tokens."""

from collections.abc import Sequence
from typing import Final, cast

from epm.device.v1 import devices_pb2, devices_pb2_grpc, groups_pb2, groups_pb2_grpc
from epmctl.client import Client
from epmctl.documents.model import Kind
from epmctl.kinds.model import ObjectKind, at, time_at
from epmctl.output import Plain, Record


def _found_by(record: Record) -> Plain:
    nested = [f"[{name}]" for name in cast("Sequence[str]", record["groups"])]
    return record["filter"] or [*cast("Sequence[str]", record["members"]), *nested]


def _note(record: Record) -> Plain:
    """Say what somebody should look at."""
    if not record["suspectedClone"]:
        return ""
    return "suspected clone, quarantined" if record["quarantined"] else "suspected clone"


def _devices(client: Client) -> devices_pb2_grpc.DeviceServiceStub:
    return devices_pb2_grpc.DeviceServiceStub(client.channel)


def _groups(client: Client) -> groups_pb2_grpc.GroupServiceStub:
    return groups_pb2_grpc.GroupServiceStub(client.channel)


DEVICE_KINDS: Final = (
    ObjectKind(
        name="groups",
        singular="group",
        document=Kind.Group,
        columns={
            "NAME": at("name"),
            "TYPE": at("type"),
            "SCOPE TAGS": at("scopeTags"),
            "MEMBERS": _found_by,
        },
        page=lambda client, size, token: client.call(
            _groups(client).ListGroups, groups_pb2.ListGroupsRequest(page_size=size, page_token=token)
        ),
        find=lambda client, name: client.call(_groups(client).GetGroup, groups_pb2.GetGroupRequest(name=name)),
    ),
    ObjectKind(
        name="devices",
        singular="device",
        columns={
            "NAME": at("name"),
            "OS": at("os"),
            "ENROLMENT": at("enrolmentState"),
            "EPM STATE": at("epmState"),
            "USERS": lambda record: [
                *cast("Sequence[str]", record["users"]),
                *cast("Sequence[str]", record["reportedUsers"]),
            ],
            "TAGS": at("tags"),
            "LAST CHECK-IN": time_at("lastCheckIn"),
            "NOTE": _note,
            "ID": at("deviceId"),
        },
        page=lambda client, size, token: client.call(
            _devices(client).ListDevices, devices_pb2.ListDevicesRequest(page_size=size, page_token=token)
        ),
        find=lambda client, name: client.call(_devices(client).GetDevice, devices_pb2.GetDeviceRequest(device=name)),
    ),
    ObjectKind(
        name="users",
        singular="user",
        columns={
            "NAME": at("name"),
            "BOUND TO": at("boundDevices"),
            "REPORTED BY": at("reportedDevices"),
            "GROUPS": at("groups"),
        },
        page=lambda client, size, token: client.call(
            _devices(client).ListUsers, devices_pb2.ListUsersRequest(page_size=size, page_token=token)
        ),
    ),
    ObjectKind(
        name="enrolment-tokens",
        singular="enrolment-token",
        key="tokenId",
        columns={
            "ID": at("tokenId"),
            "USED": lambda record: f"{record['used']} of {record['quota']}",
            "EXPIRES": time_at("expires"),
            "REVOKED": time_at("revoked"),
            "USERS": at("users"),
            "GROUPS": at("groups"),
            "DEVICES": lambda record: at("deviceId")(record) if record.get("deviceId") else at("deviceNames")(record),
            "DESCRIPTION": at("description"),
        },
        page=lambda client, size, token: client.call(
            _devices(client).ListEnrolmentTokens,
            devices_pb2.ListEnrolmentTokensRequest(page_size=size, page_token=token),
        ),
    ),
)
