"""Users that are known."""

from epm.device.v1 import devices_pb2
from services.device.model.users import KnownUser


def user_to_proto(user: KnownUser) -> devices_pb2.KnownUser:
    """Write a user."""
    return devices_pb2.KnownUser(
        name=user.name,
        bound_devices=user.bound_devices,
        reported_devices=user.reported_devices,
        groups=user.groups,
    )
