"""What this service knows of a device, from the directory of the device service."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from elevation.model import Attributes, Group
from services._chassis.permits import DEFAULT_TAG
from services.reporting.model.scope import Reported


@dataclass(frozen=True, slots=True)
class Device:
    """Know a device's name, whether its credentials hold, and who may see it."""

    device_id: str
    name: str
    enrolled: bool
    scope_tags: frozenset[str] = frozenset()
    certificate_serials: frozenset[str] = frozenset()
    """The certificates that count; none: any of the device counts."""
    unused_certificate_serial: str = ""
    """The one of them that was not used yet."""
    banned: bool = False
    deleted: bool = False
    reported: Reported = field(default_factory=Reported)
    """What may be taken from it."""
    attributes: Attributes = field(default_factory=dict)
    """What the filters of groups ask for: os, osVersion, architecture, ownership, tag, name."""

    def counts(self, serial: str) -> bool:
        """Tell whether a certificate of the device counts."""
        return not self.certificate_serials or serial in self.certificate_serials


@dataclass(frozen=True, slots=True)
class KnownGroup:
    """A group, and who may see it."""

    group: Group
    scope_tags: frozenset[str] = frozenset()

    def shows(self, tags: frozenset[str] | None) -> bool:
        """Tell whether somebody with these scope tags sees it; None: with all."""
        return tags is None or not tags.isdisjoint(self.scope_tags or {DEFAULT_TAG})


@dataclass(slots=True)
class Directory:
    """Hold the directory in memory; without a first full transfer nobody is known."""

    devices: dict[str, Device] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    """Devices that are no more."""
    groups: dict[str, KnownGroup] = field(default_factory=dict)
    told: bool = False
    """Whether a whole transfer ever came."""
    version: int = 0
    """Grows with every change."""

    def changed(self, devices: dict[str, Device]) -> tuple[Device, ...]:
        """Return those of the devices that are new or differ from what is known."""
        return tuple(device for device in devices.values() if self.devices.get(device.device_id) != device)

    def retagged(self, devices: Iterable[Device]) -> tuple[Device, ...]:
        """Return those of the devices that are new or whose scope tags differ from what is known."""
        known = {device_id: device.scope_tags for device_id, device in self.devices.items()}
        return tuple(device for device in devices if known.get(device.device_id) != device.scope_tags)

    def replace(self, devices: dict[str, Device], groups: Mapping[str, KnownGroup | None]) -> None:
        """Put a full transfer in force."""
        self.devices, self.groups = {}, {}
        self.update(devices, groups)
        self.version += 1
        self.told = True

    def update(self, devices: dict[str, Device], groups: Mapping[str, KnownGroup | None]) -> None:
        """Put changes in force; a group that is None is no more."""
        self.devices.update(devices)
        for name, group in groups.items():
            if group is None:
                self.groups.pop(name, None)
            else:
                self.groups[name] = group
        self.version += bool(devices or groups)

    def bury(self, device_ids: Collection[str]) -> tuple[Device, ...]:
        """Know devices to be no more, and return those of them that were known."""
        self.deleted.update(device_ids)
        self.version += bool(device_ids)
        return tuple(self.devices.pop(device_id) for device_id in device_ids if device_id in self.devices)
