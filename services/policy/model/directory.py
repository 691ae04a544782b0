"""The devices and groups of the installation, as the device service tells them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from elevation.model import Attributes, Group


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryDevice:
    """Know one device as far as policy needs it."""

    device_id: str
    name: str
    enrolled: bool
    banned: bool = False
    attributes: Attributes = field(default_factory=dict)
    """What filters ask for: os, os_version, architecture, ownership, tag, name."""
    users: frozenset[str] = frozenset()
    scope_tags: frozenset[str] = frozenset()
    deprovision_time: datetime | None = None
    """None: no removal is planned."""
    quarantined: bool = False
    """Whether it gets no settings and rules, because it looks like two."""
    certificate_serials: frozenset[str] = frozenset()
    """The certificates that count; none: any of the device counts."""
    unused_certificate_serial: str = ""
    """The one of them that was not used yet."""
    life: datetime | None = None
    """When it enrolled last. None: that was not told."""

    def counts(self, serial: str) -> bool:
        """Tell whether a certificate of the device counts."""
        return not self.certificate_serials or serial in self.certificate_serials


@dataclass(frozen=True, slots=True)
class Directory:
    """Hold all devices and groups at one revision of the device service."""

    revision: int = 0
    devices: Mapping[str, DirectoryDevice] = field(default_factory=dict)
    groups: Mapping[str, Group] = field(default_factory=dict)
    deleted: frozenset[str] = frozenset()
    """Devices that are no more."""
