"""The device service: its directory, held in memory, and its ear for what settings policies want and which groups are used."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC

import grpc.aio

from elevation.model import Group, GroupType, ReportingScope
from epm.device.v1 import devices_pb2, groups_pb2, lifecycle_pb2, lifecycle_pb2_grpc
from services._chassis.certificates import by_directory
from services._chassis.client import DEADLINE, calling
from services._chassis.errors import UnavailableError
from services._chassis.logging import get_logger
from services._chassis.times import time_to_proto
from services._chassis.workers import Worker
from services.policy.model.delivery import Desired, SettingsState
from services.policy.model.directory import Directory, DirectoryDevice
from services.policy.model.sightings import Sighting, SightingKind
from services.policy.model.used_groups import UsedGroups
from services.policy.usecases.admission import admit, is_settled

PATIENCE = 5.0
"""Seconds that a device which has only just enrolled, and a revision, are waited for; the directory follows within one."""

LARGEST_FILTERS = 1024 * 1024
"""Characters of filters that are told; a message takes four times as much, and names come first."""

log = get_logger("policy.directory")
_GROUP_TYPES = {groups_pb2.GROUP_TYPE_DEVICE: GroupType.DEVICE, groups_pb2.GROUP_TYPE_USER: GroupType.USER}
_OWNERSHIPS = {devices_pb2.OWNERSHIP_CORPORATE: "corporate", devices_pb2.OWNERSHIP_PERSONAL: "personal"}
_DESIRED = {
    Desired.ON: lifecycle_pb2.DESIRED_STATE_ON,
    Desired.OFF: lifecycle_pb2.DESIRED_STATE_OFF,
    Desired.NONE: lifecycle_pb2.DESIRED_STATE_NONE,
}
_SCOPES = {scope: lifecycle_pb2.ReportedScope.Value(f"REPORTED_SCOPE_{scope.value}") for scope in ReportingScope}
_SIGHTINGS = {
    SightingKind.CERTIFICATE_USED: lifecycle_pb2.SIGHTING_KIND_CERTIFICATE_USED,
    SightingKind.SUSPECTED_CLONE: lifecycle_pb2.SIGHTING_KIND_SUSPECTED_CLONE,
}


class DirectoryWatch:
    """Follow WatchDirectory; `directory` is what it said last, also while the device service is away.

    `on_change` hears which devices changed, None for all (groups changed); `on_identity`, before it, whose enrolment,
    certificates or platform did; `on_connect` that a watch begins anew.
    """

    def __init__(self, channel: grpc.aio.Channel, *, patience: float = PATIENCE) -> None:
        self.on_change: list[Callable[[Iterable[str] | None], None]] = []
        self.on_identity: list[Callable[[Iterable[str]], None]] = []
        self.on_connect: list[Callable[[], None]] = []
        self._stub = lifecycle_pb2_grpc.DirectoryServiceStub(channel)
        self._patience = patience
        self._directory: Directory | None = None
        self._partial: _Partial | None = None
        self._live = False
        self._changed = asyncio.Event()

    def worker(self) -> Worker:
        """Return the worker that keeps the directory up to date."""
        return Worker("watch_directory", self.run)

    async def run(self) -> None:
        """Follow one stream until it ends, which raises UnavailableError."""
        begun = False
        try:
            with calling("device"):
                async for message in self._stub.WatchDirectory(self.begin()):
                    self.take(message)
                    if not begun:
                        begun = True
                        for listener in self.on_connect:
                            listener()
        finally:
            self._live = False
        raise UnavailableError("the device service ended the stream of the directory")

    def begin(self) -> lifecycle_pb2.WatchDirectoryRequest:
        """Forget a transfer that broke off, and ask for what is newer than the last whole one."""
        self._partial = None
        return lifecycle_pb2.WatchDirectoryRequest(revision=self._directory.revision if self._directory else 0)

    def take(self, message: lifecycle_pb2.WatchDirectoryResponse) -> None:
        """Collect the messages of one transfer, and put it in force when it is whole."""
        self._live = True
        if message.reset or self._partial is None:
            self._partial = _Partial(reset=message.reset)
        self._partial.add(message)
        if message.more:
            return
        partial, self._partial = self._partial, None
        self._put_in_force(partial, message.revision)

    def directory(self) -> Directory:
        """Return the newest directory. Raises UnavailableError while none was received."""
        if self._directory is None:
            raise UnavailableError(
                "the device service has not told its directory yet; try again", reason="DIRECTORY_NOT_KNOWN_YET"
            )
        return self._directory

    async def at_least(self, revision: int) -> Directory:
        """Return the directory once it is as new as `revision`. Raises UnavailableError if that takes too long."""
        await self._wait(lambda: self._directory is not None and self._directory.revision >= revision)
        directory = self.directory()
        if directory.revision < revision:
            raise UnavailableError(
                f"the directory is at revision {directory.revision}, not yet at {revision}; try again",
                reason="DIRECTORY_BEHIND",
            )
        return directory

    async def admitted(self, device_id: str, serial: str) -> DirectoryDevice:
        """Return the device, waiting a little for the directory to show it and its certificate.

        Raises as `admit` does; a certificate that is not known here while the device service is away may be a new one, and
        is asked to come back.
        """
        await self._wait(lambda: self._directory is not None and is_settled(self._directory, device_id, serial))
        with by_directory(live=self._live):
            return admit(self.directory(), device_id, serial)

    async def _wait(self, reached: Callable[[], bool]) -> None:
        if reached():
            return
        try:
            async with asyncio.timeout(self._patience):
                while not reached():
                    await self._changed.wait()
        except TimeoutError:
            return

    def _put_in_force(self, partial: "_Partial", revision: int) -> None:
        old = self._directory or Directory()
        devices, groups = partial.devices_after(old.devices), partial.groups_after(old.groups)
        changed = [key for key in devices.keys() | old.devices.keys() if devices.get(key) != old.devices.get(key)]
        if groups == old.groups:
            groups = old.groups  # the same object: what was worked out for these groups still holds
        first = self._directory is None
        self._directory = Directory(revision, devices, groups, partial.deleted_after(old.deleted))
        self._changed.set()
        self._changed = asyncio.Event()
        if known := [key for key in changed if _identity(devices.get(key)) != _identity(old.devices.get(key))]:
            for hear in self.on_identity:
                hear(known)
        everything = first or groups is not old.groups
        if everything or changed:
            log.info("directory_changed", revision=revision, devices=len(changed), groups=len(groups))
            for listener in self.on_change:
                listener(None if everything else changed)


class _Partial:
    """Collect what the messages of one transfer bring."""

    def __init__(self, *, reset: bool) -> None:
        self._reset = reset
        self._devices: dict[str, DirectoryDevice] = {}
        self._deleted: set[str] = set()
        self._groups: dict[str, Group | None] = {}

    def add(self, message: lifecycle_pb2.WatchDirectoryResponse) -> None:
        """Take up one message."""
        self._devices.update((device.device_id, _device(device)) for device in message.devices if not device.deleted)
        self._deleted.update(device.device_id for device in message.devices if device.deleted)
        self._groups.update((group.name, _group(group)) for group in message.groups)

    def devices_after(self, before: Mapping[str, DirectoryDevice]) -> dict[str, DirectoryDevice]:
        """Return all devices as they are after the transfer."""
        merged = {**({} if self._reset else before), **self._devices}
        for device_id in self._deleted:
            merged.pop(device_id, None)
        return merged

    def deleted_after(self, before: frozenset[str]) -> frozenset[str]:
        """Return all devices that are no more."""
        return before | self._deleted

    def groups_after(self, before: Mapping[str, Group]) -> Mapping[str, Group]:
        """Return all groups as they are after the transfer."""
        merged = {**({} if self._reset else before), **self._groups}
        return {name: group for name, group in merged.items() if group is not None}


class SettingsReports:
    """Tell the device service what settings policies want."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = lifecycle_pb2_grpc.DirectoryServiceStub(channel)

    async def report(self, states: Sequence[SettingsState]) -> int:
        """Send a batch; return the newest revision that was heard of. Raises UnavailableError if it was not taken in."""
        request = lifecycle_pb2.ReportSettingsStatesRequest(
            states=[
                lifecycle_pb2.SettingsState(
                    device_id=state.device_id,
                    desired=_DESIRED[state.desired],
                    acknowledged=state.acknowledged,
                    revision=state.revision,
                    lost=time_to_proto(state.lost),
                    enrolled=time_to_proto(state.life),
                    reporting_scope=_SCOPES[state.scope],
                )
                for state in states
            ]
        )
        with calling("device"):
            return int((await self._stub.ReportSettingsStates(request, timeout=DEADLINE)).newest_revision)


class UsedGroupsReports:
    """Tell the device service which groups policies are assigned to."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = lifecycle_pb2_grpc.DirectoryServiceStub(channel)

    async def report(self, used: UsedGroups) -> int:
        """Send all of them, and none of their filters if those are too many; return the newest revision that was heard of.

        Raises UnavailableError.
        """
        size = sum(len(text) for filters in used.filters.values() for text in filters)
        told = size <= LARGEST_FILTERS
        groups = [
            lifecycle_pb2.UsedGroup(name=name, filters=filters if told else (), any_filter=bool(filters) and not told)
            for name, filters in used.filters.items()
        ]
        with calling("device"):
            answer = await self._stub.ReportUsedGroups(
                lifecycle_pb2.ReportUsedGroupsRequest(groups=groups, revision=used.revision), timeout=DEADLINE
            )
            return int(answer.newest_revision)


class SightingReports:
    """Tell the device service what was seen of devices on their streams."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = lifecycle_pb2_grpc.DirectoryServiceStub(channel)

    async def report(self, sightings: Sequence[Sighting]) -> None:
        """Send a batch. Raises UnavailableError if it was not taken in."""
        told = [
            lifecycle_pb2.Sighting(
                device_id=sighting.device_id,
                kind=_SIGHTINGS[sighting.kind],
                certificate_serial=sighting.certificate_serial,
                detail=sighting.detail,
            )
            for sighting in sightings
        ]
        with calling("device"):
            await self._stub.ReportSightings(lifecycle_pb2.ReportSightingsRequest(sightings=told), timeout=DEADLINE)


def _identity(device: DirectoryDevice | None) -> object:
    """Return what decides whether streams of the device go on, and whether its EPM state began anew."""
    return device and (
        device.enrolled,
        device.banned,
        device.certificate_serials,
        device.life,
        device.attributes.get("os"),
    )


def _device(message: lifecycle_pb2.DirectoryDevice) -> DirectoryDevice:
    return DirectoryDevice(
        device_id=message.device_id,
        name=message.name,
        enrolled=message.enrolment_state == devices_pb2.ENROLMENT_STATE_ENROLLED,
        banned=message.enrolment_state == devices_pb2.ENROLMENT_STATE_BANNED,
        attributes={
            "name": message.name,
            "os": message.os,
            "osVersion": message.os_version,
            "architecture": message.architecture,
            "ownership": _OWNERSHIPS.get(message.ownership, ""),
            "tag": tuple(message.tags),
        },
        users=frozenset(message.users),
        scope_tags=frozenset(message.scope_tags),
        deprovision_time=(
            message.deprovision_time.ToDatetime(tzinfo=UTC) if message.HasField("deprovision_time") else None
        ),
        quarantined=message.quarantined,
        certificate_serials=frozenset(message.certificate_serials),
        unused_certificate_serial=message.unused_certificate_serial,
        life=message.enrolled.ToDatetime(tzinfo=UTC) if message.HasField("enrolled") else None,
    )


def _group(message: lifecycle_pb2.DirectoryGroup) -> Group | None:
    """Return the group; None for one that is no more, or whose type is not known here."""
    kind = _GROUP_TYPES.get(message.type)
    if message.deleted or kind is None:
        return None
    return Group(message.name, kind, tuple(message.members), message.filter, groups=tuple(message.groups))
