"""Users that are known: from devices and from groups, until a directory of the organisation tells of them."""

from dataclasses import dataclass

from services.device.model.pages import weigh

MOST_DEVICES = 100
"""Devices that are named for a user, bound ones and reported ones apart."""


@dataclass(frozen=True, slots=True)
class KnownUser:
    """Say whence a user is known: devices it is bound to, devices that report it, groups that have it; all sorted."""

    name: str
    bound_devices: tuple[str, ...] = ()
    reported_devices: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()

    @property
    def weight(self) -> int:
        """Return about how many bytes the user takes in a message."""
        return weigh((self.name,), self.bound_devices, self.reported_devices, self.groups)
