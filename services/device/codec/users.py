"""Users, and what filters see of devices."""

from epm.device.v1 import devices_pb2
from services.device.model.members import Attribute
from services.device.model.users import KnownUser


def user_to_proto(user: KnownUser) -> devices_pb2.KnownUser:
    """Write a user."""
    return devices_pb2.KnownUser(
        name=user.name,
        bound_devices=user.bound_devices,
        reported_devices=user.reported_devices,
        groups=user.groups,
    )


def attribute_to_proto(attribute: Attribute) -> devices_pb2.DeviceAttribute:
    """Write what filters see of a device in one field."""
    return devices_pb2.DeviceAttribute(name=attribute.name, values=attribute.values, attested=attribute.attested)
