"""Which event streams are open, and who is sent away.

- The newest stream of a device wins. A device that loses its credentials loses its stream at once.
- A device has few streams on which it has not said hello.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from services._chassis.certificates import replaced
from services._chassis.errors import LimitError
from services.reporting.model.devices import Device
from services.reporting.streams import EventStream
from services.reporting.usecases import not_enrolled

GREETED_OF_ONE = 4
"""Streams of one device that may be in greeting."""

COME_BACK = timedelta(seconds=5)
"""When a device that has more of them may try again."""


class OpenStreams:
    """Know the one open stream of each device."""

    def __init__(self) -> None:
        self._streams: dict[str, EventStream] = {}
        self._greeting: dict[str, int] = {}
        self._draining = False

    @contextmanager
    def greeting(self, device_id: str) -> Iterator[None]:
        """Count a stream as one in greeting while the block runs. Raises LimitError where the device has too many of them."""
        before = self._greeting.get(device_id, 0)
        if before >= GREETED_OF_ONE:
            raise LimitError(
                "the device has opened more streams than it says hello on; close some",
                reason="TOO_MANY_STREAMS",
                retry_after=COME_BACK,
            )
        self._greeting[device_id] = before + 1
        try:
            yield
        finally:
            self._greeting[device_id] -= 1
            if not self._greeting[device_id]:
                del self._greeting[device_id]

    @contextmanager
    def entered(self, stream: EventStream) -> Iterator[None]:
        """Count the stream as the device's while the block runs; an older one is sent away."""
        device_id = stream.device.device_id
        if older := self._streams.get(device_id):
            older.close("SUPERSEDED")
        self._streams[device_id] = stream
        if self._draining:
            stream.close("DRAINING")
        try:
            yield
        finally:
            if self._streams.get(device_id) is stream:
                del self._streams[device_id]

    def follow(self, device: Device) -> None:
        """Cut the stream of a device that lost its credentials, or its certificate; any other goes by what is told from now on."""
        stream = self._streams.get(device.device_id)
        if stream is None:
            return
        if not device.enrolled:
            refusal = not_enrolled(device)
            stream.close(refusal.reason, refusal)
        elif not device.counts(stream.serial):
            stream.close("CERTIFICATE_REPLACED", replaced())
        else:
            stream.follow(device)

    async def drain(self) -> None:
        """Send everyone away, and everyone who still comes, because this process ends."""
        self._draining = True
        for stream in list(self._streams.values()):
            stream.close("DRAINING")
