"""The device service's directory, held in memory: who the devices are and who may see them."""

import asyncio
from collections.abc import Callable

import grpc.aio

from epm.device.v1 import devices_pb2, lifecycle_pb2, lifecycle_pb2_grpc
from services._chassis.client import calling
from services._chassis.errors import UnavailableError
from services._chassis.logging import get_logger
from services._chassis.workers import Worker
from services.reporting.model.devices import Device, Directory
from services.reporting.ports import DeviceRecords
from services.reporting.usecases import admit

PATIENCE = 5.0
"""Seconds that a device which has only just enrolled is waited for; the directory follows within one."""

log = get_logger("reporting.directory")


class DirectoryWatch:
    """Follow WatchDirectory; `directory` is what it said last, also while the device service is away."""

    def __init__(self, channel: grpc.aio.Channel, records: DeviceRecords) -> None:
        self.directory = Directory()
        self.on_change: list[Callable[[Device], None]] = []
        self._stub = lifecycle_pb2_grpc.DirectoryServiceStub(channel)
        self._records = records
        self._revision = 0
        self._partial: dict[str, Device] | None = None
        self._reset = False
        self._changed = asyncio.Event()

    def worker(self) -> Worker:
        """Return the worker that keeps the directory up to date."""
        return Worker("watch_directory", self.run)

    async def run(self) -> None:
        """Follow one stream until it ends, which raises UnavailableError."""
        with calling("device"):
            async for message in self._stub.WatchDirectory(self.begin()):
                await self.take(message)
        raise UnavailableError("the device service ended the stream of the directory")

    def begin(self) -> lifecycle_pb2.WatchDirectoryRequest:
        """Forget a transfer that broke off, and ask for what is newer than the last whole one."""
        self._partial = None
        return lifecycle_pb2.WatchDirectoryRequest(revision=self._revision)

    async def take(self, message: lifecycle_pb2.WatchDirectoryResponse) -> None:
        """Collect the messages of one transfer, and put it in force when it is whole."""
        if message.reset or self._partial is None:
            self._partial, self._reset = {}, message.reset
        self._partial.update((device.device_id, _device(device)) for device in message.devices)
        if message.more:
            return
        devices, self._partial = self._partial, None
        await self._put_in_force(devices, whole=self._reset)
        self._revision = message.revision

    async def admitted(self, device_id: str) -> Device:
        """Return the device, waiting a little for the directory to show it. Raises as `admit` does."""
        try:
            async with asyncio.timeout(PATIENCE):
                while device_id not in self.directory.devices:
                    await self._changed.wait()
        except TimeoutError:
            pass
        return admit(self.directory, device_id)

    async def _put_in_force(self, devices: dict[str, Device], *, whole: bool) -> None:
        changed = self.directory.changed(devices)
        # First the tables, then the memory: an event is never taken in from a device that nobody could be shown.
        await self._records.remember(changed)
        gone = self.directory.devices.keys() - devices.keys() if whole else set()
        lost = [self.directory.devices[device_id] for device_id in sorted(gone)]
        if whole:
            self.directory.replace(devices)
        else:
            self.directory.update(devices)
        for device in (*changed, *(Device(old.device_id, old.name, enrolled=False) for old in lost)):
            for listener in self.on_change:
                listener(device)
        if changed or lost:
            log.info("directory_changed", changed=len(changed), gone=len(lost))
            self._changed.set()
            self._changed = asyncio.Event()


def _device(message: lifecycle_pb2.DirectoryDevice) -> Device:
    return Device(
        device_id=message.device_id,
        name=message.name,
        enrolled=message.enrolment_state == devices_pb2.ENROLMENT_STATE_ENROLLED,
        scope_tags=frozenset(message.scope_tags),
    )
