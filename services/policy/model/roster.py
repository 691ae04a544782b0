"""Which devices are alike: they are in the same groups, so are their users, and the same filters hold for them.

A shape is looked at anew only where the directory tells something new of the device, its users or its groups, so that a
change costs what it touches.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from elevation.filters import Test
from elevation.memberships import Member
from elevation.model import ALL_DEVICES, ALL_USERS, GroupType
from services.policy.model.directory import DirectoryDevice
from services.policy.model.effective import EffectivePolicies, Shape, attributes_of


@dataclass(frozen=True, slots=True)
class Taken:
    """Say what is otherwise in a directory or by its policies."""

    changed: frozenset[str]
    """Devices that came or went, or of which the directory tells something new."""
    moved: Mapping[str, Shape]
    """Shapes that devices had before and have no more."""


class Roster:
    """Know the shape of each device, and the devices of each shape."""

    def __init__(self) -> None:
        self._effective: EffectivePolicies | None = None
        self._devices: Mapping[str, DirectoryDevice] = {}
        self._shapes: dict[str, Shape] = {}
        self._alike: dict[Shape, set[str]] = {}
        self._affected_by: dict[Member, set[str]] = {}

    @property
    def shapes(self) -> Mapping[Shape, Collection[str]]:
        """Return the devices of each shape that there is."""
        return self._alike

    def shape(self, device_id: str) -> Shape:
        """Return the shape of a device that the directory shows."""
        return self._shapes[device_id]

    def take(self, effective: EffectivePolicies, devices: Mapping[str, DirectoryDevice]) -> Taken:
        """Take up what is newer; tell of which devices."""
        before = self._devices
        changed = {key for key in before.keys() | devices.keys() if before.get(key) is not devices.get(key)}
        doubt = _doubt(self._effective, effective)
        for device_id in changed & before.keys():
            self._drop(before[device_id])
        self._effective, self._devices = effective, devices
        for device_id in changed & devices.keys():
            self._add(devices[device_id])
        suspects: Collection[str] = devices.keys()
        if not doubt.about_all:
            members = (self._affected_by.get(member, ()) for member in doubt.members)
            suspects = (changed & devices.keys()).union(*members, _found(devices, doubt.tests))
        moved: dict[str, Shape] = {}
        for device_id in suspects:
            old = self._shapes.get(device_id)
            if self._put(device_id, effective.shape(devices[device_id])) and old is not None:
                moved[device_id] = old
        return Taken(frozenset(changed), moved)

    def _add(self, device: DirectoryDevice) -> None:
        for member in _members_of(device):
            self._affected_by.setdefault(member, set()).add(device.device_id)

    def _drop(self, device: DirectoryDevice) -> None:
        self._leave(device.device_id)
        for member in _members_of(device):
            affected = self._affected_by[member]
            affected.discard(device.device_id)
            if not affected:
                del self._affected_by[member]

    def _put(self, device_id: str, shape: Shape) -> bool:
        """Put the device among those of its shape; tell whether it was not there."""
        if self._shapes.get(device_id) == shape:
            return False
        self._leave(device_id)
        alike = self._alike.setdefault(shape, set())
        # One object for all: to compare it with itself costs nothing.
        self._shapes[device_id] = next((self._shapes[other] for other in alike), shape)
        alike.add(device_id)
        return True

    def _leave(self, device_id: str) -> None:
        shape = self._shapes.pop(device_id, None)
        if shape is None:
            return
        alike = self._alike[shape]
        alike.discard(device_id)
        if not alike:
            del self._alike[shape]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Doubt:
    """Say who may have another shape than before, beside devices of which the directory tells something new."""

    about_all: bool = False
    members: Collection[Member] = ()
    tests: Collection[Test] = ()
    """Filters that find some of them."""


def _doubt(old: EffectivePolicies | None, new: EffectivePolicies) -> _Doubt:
    if old is None:
        return _Doubt(about_all=True)
    named = old.named ^ new.named
    if {ALL_DEVICES, ALL_USERS} & named:
        return _Doubt(about_all=True)
    texts = old.filters.keys() ^ new.filters.keys()
    tests = {(old.filters.get(text) or new.filters[text]) for text in texts}
    sources = set(old.index.dynamic) ^ set(new.index.dynamic)
    sources |= {source for source in new.index.dynamic if named & source.groups}
    tests |= {source.holds for source in sources if source.groups & (old.named | new.named)}
    return _Doubt(members=_listed_otherwise(old, new, named), tests=tests)


def _listed_otherwise(old: EffectivePolicies, new: EffectivePolicies, named: frozenset[str]) -> Collection[Member]:
    """Return the devices and users that other groups list than before, or groups that are named now or no more."""
    before, now = old.index.listed, new.index.listed
    moved = {member for member, groups in now.items() if named & groups} if named else set[Member]()
    if before is not now:
        moved.update(member for member in before.keys() | now.keys() if _differ(before.get(member), now.get(member)))
    return moved


def _found(devices: Mapping[str, DirectoryDevice], tests: Collection[Test]) -> Iterator[str]:
    if tests:
        for device_id, device in devices.items():
            attributes = attributes_of(device)
            if any(test(attributes) for test in tests):
                yield device_id


def _differ(old: frozenset[str] | None, new: frozenset[str] | None) -> bool:
    return old is not new and old != new


def _members_of(device: DirectoryDevice) -> Iterator[Member]:
    yield GroupType.DEVICE, device.name
    for user in device.users:
        yield GroupType.USER, user
