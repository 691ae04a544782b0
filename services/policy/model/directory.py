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
    attributes: Attributes = field(default_factory=dict)
    """What filters ask for: os, os_version, architecture, ownership, tag, name."""
    users: frozenset[str] = frozenset()
    scope_tags: frozenset[str] = frozenset()
    deprovision_time: datetime | None = None
    """None: no removal is planned."""


@dataclass(frozen=True, slots=True)
class Directory:
    """Hold all devices and groups at one revision of the device service."""

    revision: int = 0
    devices: Mapping[str, DirectoryDevice] = field(default_factory=dict)
    groups: Mapping[str, Group] = field(default_factory=dict)
