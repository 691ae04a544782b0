"""What this service knows of a device, from the directory of the device service."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Device:
    """Know a device's name, whether its credentials hold, and who may see it."""

    device_id: str
    name: str
    enrolled: bool
    scope_tags: frozenset[str] = frozenset()


@dataclass(slots=True)
class Directory:
    """Hold the directory in memory; without a first full transfer nobody is known."""

    devices: dict[str, Device] = field(default_factory=dict)

    def changed(self, devices: dict[str, Device]) -> tuple[Device, ...]:
        """Return those of the devices that are new or differ from what is known."""
        return tuple(device for device in devices.values() if self.devices.get(device.device_id) != device)

    def replace(self, devices: dict[str, Device]) -> None:
        """Put a full transfer in force."""
        self.devices = dict(devices)

    def update(self, devices: dict[str, Device]) -> None:
        """Put changes in force."""
        self.devices.update(devices)
