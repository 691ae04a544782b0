"""The device service's directory, held in memory: who the devices are, who may see them, and which groups there are."""

import asyncio
from collections.abc import Callable

import grpc.aio

from elevation.model import Group, GroupType, ReportingScope
from epm.device.v1 import devices_pb2, groups_pb2, lifecycle_pb2, lifecycle_pb2_grpc
from services._chassis.certificates import by_directory
from services._chassis.client import DEADLINE, calling
from services._chassis.errors import UnavailableError
from services._chassis.logging import get_logger
from services._chassis.workers import Worker
from services.reporting.codec.words import time_of
from services.reporting.model.devices import Device, Directory, KnownGroup
from services.reporting.model.scope import Reported
from services.reporting.ports import DeviceRecords
from services.reporting.usecases import admit, is_settled

PATIENCE = 5.0
"""Seconds that a device which has only just enrolled, and a new certificate, are waited for; the directory follows within one."""

LARGEST_REPORT = 1000

log = get_logger("reporting.directory")
_GROUP_TYPES = {groups_pb2.GROUP_TYPE_DEVICE: GroupType.DEVICE, groups_pb2.GROUP_TYPE_USER: GroupType.USER}
_SCOPES = {lifecycle_pb2.ReportedScope.Value(f"REPORTED_SCOPE_{scope.value}"): scope for scope in ReportingScope}
_OWNERSHIPS = {devices_pb2.OWNERSHIP_CORPORATE: "corporate", devices_pb2.OWNERSHIP_PERSONAL: "personal"}


class DirectoryWatch:
    """Follow WatchDirectory; `directory` is what it said last, also while the device service is away."""

    def __init__(self, channel: grpc.aio.Channel, records: DeviceRecords, *, patience: float = PATIENCE) -> None:
        self.directory = Directory()
        self.on_change: list[Callable[[Device], None]] = []
        self._stub = lifecycle_pb2_grpc.DirectoryServiceStub(channel)
        self._records = records
        self._patience = patience
        self._revision = 0
        self._live = False
        self._partial: dict[str, Device] | None = None
        self._groups: dict[str, KnownGroup | None] = {}
        self._deleted: set[str] = set()
        self._reset = False
        self._changed = asyncio.Event()

    def worker(self) -> Worker:
        """Return the worker that keeps the directory up to date."""
        return Worker("watch_directory", self.run)

    async def run(self) -> None:
        """Follow one stream until it ends, which raises UnavailableError."""
        try:
            with calling("device"):
                async for message in self._stub.WatchDirectory(self.begin()):
                    await self.take(message)
        finally:
            self._live = False
        raise UnavailableError("the device service ended the stream of the directory")

    def begin(self) -> lifecycle_pb2.WatchDirectoryRequest:
        """Forget a transfer that broke off, and ask for what is newer than the last whole one."""
        self._partial = None
        return lifecycle_pb2.WatchDirectoryRequest(revision=self._revision)

    async def take(self, message: lifecycle_pb2.WatchDirectoryResponse) -> None:
        """Collect the messages of one transfer, and put it in force when it is whole."""
        self._live = True
        if message.reset or self._partial is None:
            self._partial, self._groups, self._deleted, self._reset = {}, {}, set(), message.reset
        self._partial.update((device.device_id, _device(device)) for device in message.devices if not device.deleted)
        self._groups.update((group.name, _group(group)) for group in message.groups)
        self._deleted.update(device.device_id for device in message.devices if device.deleted)
        if message.more:
            return
        devices, self._partial = self._partial, None
        await self._put_in_force(devices, self._deleted, whole=self._reset)
        self._revision = message.revision

    async def admitted(self, device_id: str, serial: str) -> Device:
        """Return the device, waiting a little for the directory to show it and its certificate.

        Raises as `admit` does; a certificate that is not known here while the device service is away may be a new one, and
        is asked to come back.
        """
        try:
            async with asyncio.timeout(self._patience):
                while not is_settled(self.directory, device_id, serial):
                    await self._changed.wait()
        except TimeoutError:
            pass
        with by_directory(live=self._live):
            return admit(self.directory, device_id, serial)

    async def _put_in_force(self, devices: dict[str, Device], deleted: set[str], *, whole: bool) -> None:
        changed = self.directory.changed(devices)
        # First the tables, then the memory: an event is never taken in from a device that nobody could be shown.
        await self._records.remember(self.directory.retagged(changed))
        gone = self.directory.devices.keys() - devices.keys() if whole else set()
        lost = [self.directory.devices[device_id] for device_id in sorted(gone)]
        if whole:
            self.directory.replace(devices, self._groups)
        else:
            self.directory.update(devices, self._groups)
        lost += self.directory.bury(sorted(deleted))
        for device in (*changed, *(Device(old.device_id, old.name, enrolled=False, deleted=True) for old in lost)):
            for listener in self.on_change:
                listener(device)
        if changed or lost:
            log.info("directory_changed", changed=len(changed), gone=len(lost))
            self._changed.set()
            self._changed = asyncio.Event()


class CertificateSightings:
    """Tell the device service which certificates were used for the first time; `worker` does it."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = lifecycle_pb2_grpc.DirectoryServiceStub(channel)
        self._waiting: dict[tuple[str, str], None] = {}
        self._woken = asyncio.Event()

    def used(self, device_id: str, serial: str) -> None:
        """Tell it soon; what is told twice does no harm."""
        self._waiting[device_id, serial] = None
        self._woken.set()

    def worker(self) -> Worker:
        """Return the worker that tells."""
        return Worker("report_certificates", self.run)

    async def run(self) -> None:
        """Tell for ever. Raises UnavailableError; what was not heard is told again."""
        while True:
            if not self._waiting:
                self._woken.clear()
                await self._woken.wait()
            part = list(self._waiting)[:LARGEST_REPORT]
            sightings = [
                lifecycle_pb2.Sighting(
                    device_id=device_id,
                    kind=lifecycle_pb2.SIGHTING_KIND_CERTIFICATE_USED,
                    certificate_serial=serial,
                    detail="it opened an event stream",
                )
                for device_id, serial in part
            ]
            request = lifecycle_pb2.ReportSightingsRequest(sightings=sightings)
            with calling("device"):
                await self._stub.ReportSightings(request, timeout=DEADLINE)
            for told in part:
                self._waiting.pop(told, None)


def _device(message: lifecycle_pb2.DirectoryDevice) -> Device:
    return Device(
        device_id=message.device_id,
        name=message.name,
        enrolled=message.enrolment_state == devices_pb2.ENROLMENT_STATE_ENROLLED,
        scope_tags=frozenset(message.scope_tags),
        certificate_serials=frozenset(message.certificate_serials),
        unused_certificate_serial=message.unused_certificate_serial,
        banned=message.enrolment_state == devices_pb2.ENROLMENT_STATE_BANNED,
        reported=_reported(message),
        attributes={
            "name": message.name,
            "os": message.os,
            "osVersion": message.os_version,
            "architecture": message.architecture,
            "ownership": _OWNERSHIPS.get(message.ownership, ""),
            "tag": tuple(message.tags),
        },
    )


def _reported(message: lifecycle_pb2.DirectoryDevice) -> Reported:
    """Return what may be taken from the device; a word that is not known here is none."""
    until = ((_SCOPES.get(each.scope), each.until) for each in message.reported_until)
    return Reported(
        _SCOPES.get(message.reporting_scope),
        tuple((scope, time_of(time) or 0) for scope, time in until if scope is not None),
    )


def _group(message: lifecycle_pb2.DirectoryGroup) -> KnownGroup | None:
    """Return the group; None for one that is no more, or whose type is not known here."""
    kind = _GROUP_TYPES.get(message.type)
    if message.deleted or kind is None:
        return None
    group = Group(message.name, kind, tuple(message.members), message.filter, groups=tuple(message.groups))
    return KnownGroup(group, frozenset(message.scope_tags))
