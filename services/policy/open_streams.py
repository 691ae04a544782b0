"""Which policy streams are open.

- The newest stream of a device wins, here at once, and over processes by the name that the deliveries keep.
- How many streams there are, how many of them are being greeted, and how many one device opens, is bounded: who comes then is
  asked to come later.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from services._chassis import throttle
from services._chassis.clock import Clock
from services._chassis.errors import ServiceError
from services._chassis.workers import Worker
from services.policy.ports import Deliveries
from services.policy.streams.stream import CUT, LEAVE, PolicyStream
from services.policy.usecases.sayings import Throttle, lost_to, superseded

MOST_STREAMS = 20_000
GREETED_PART = 2
"""At most one part in so many of the most streams may be in greeting: a storm that is greeted slowly would time out."""

GREETED_OF_ONE = 4
"""Streams of one device that may be in greeting: one that says no hello must not keep others from being greeted."""

OPENED_OF_ONE = 120
"""Streams that one device may open in a minute: of each it is written down that it began and ended."""

MOST_DEVICES = 100_000
"""Devices of which it is remembered at once how many they opened."""

BUSY = Throttle(timedelta(seconds=5))
FULL = Throttle(timedelta(minutes=1))
HELD_AT_ONCE = 500
HOLD_EVERY = timedelta(minutes=1)


class OpenStreams:
    """Know the one open stream of each device, and keep the data showing that it is open."""

    def __init__(self, deliveries: Deliveries, clock: Clock, *, most: int = MOST_STREAMS) -> None:
        self._deliveries = deliveries
        self._clock = clock
        self._most = most
        self._greeting = 0
        self._greeting_of: dict[str, int] = {}
        self._opened = throttle.Throttle(times=OPENED_OF_ONE, monotonic=clock.monotonic, most_names=MOST_DEVICES)
        self._streams: dict[str, PolicyStream] = {}
        self._draining = False

    @contextmanager
    def greeting(self, device_id: str) -> Iterator[Throttle | None]:
        """Count a stream as one in greeting while the block runs; where there are too many, say what to answer instead.

        A device of which a stream is open is let in however many there are: it replaces that one. How many one device
        opens is bounded all the same.
        """
        if (busy := self._throttle(device_id)) is not None:
            yield busy
            return
        self._greeting += 1
        self._greeting_of[device_id] = self._greeting_of.get(device_id, 0) + 1
        try:
            yield None
        finally:
            self._greeting -= 1
            self._greeting_of[device_id] -= 1
            if not self._greeting_of[device_id]:
                del self._greeting_of[device_id]

    def _throttle(self, device_id: str) -> Throttle | None:
        if self._greeting * GREETED_PART >= max(self._most, GREETED_PART):
            return BUSY
        if self._greeting_of.get(device_id, 0) >= GREETED_OF_ONE:
            return BUSY
        if device_id not in self._streams and len(self._streams) + self._greeting >= self._most:
            return FULL
        wait = self._opened.charge(device_id)
        return None if wait is None else Throttle(max(wait, BUSY.retry_after))

    @contextmanager
    def entered(self, stream: PolicyStream) -> Iterator[None]:
        """Count the stream as the device's while the block runs; an older one is sent away."""
        device_id = stream.conversation.device_id
        if older := self._streams.get(device_id):
            older.close(superseded(older.run_id, stream.run_id))
        self._streams[device_id] = stream
        if self._draining:
            stream.close(LEAVE)
        try:
            yield
        finally:
            if self._streams.get(device_id) is stream:
                del self._streams[device_id]

    def is_open(self, device_id: str) -> bool:
        """Tell whether a stream of the device is open here."""
        return device_id in self._streams

    def of(self, device_id: str) -> PolicyStream | None:
        """Return the stream of the device that is open here."""
        return self._streams.get(device_id)

    def wake(self, device_ids: Iterable[str] | None) -> None:
        """Have the streams of these devices look for news; None: all streams."""
        for device_id in list(self._streams) if device_ids is None else device_ids:
            if stream := self._streams.get(device_id):
                stream.wake()

    def look(self, device_ids: Iterable[str]) -> None:
        """Have the streams of these devices look for news, and confirm nothing where there are none."""
        for device_id in device_ids:
            if stream := self._streams.get(device_id):
                stream.look()

    def judge(self, why: Callable[[str, str], ServiceError | None], device_ids: Iterable[str]) -> None:
        """Cut those of the devices' streams of which `why` says so, from the device and the certificate's serial number."""
        for device_id in device_ids:
            if (stream := self._streams.get(device_id)) and (ending := why(device_id, stream.serial)):
                stream.close(ending, patience=CUT)

    async def drain(self) -> None:
        """Send everyone away, and everyone who comes yet, because this process ends."""
        self._draining = True
        self.send_away()

    def send_away(self) -> None:
        """Ask everyone to come anew."""
        for stream in list(self._streams.values()):
            stream.close(LEAVE)

    def worker(self) -> Worker:
        """Return the worker that keeps the data true."""
        return Worker("hold_policy_streams", self.run)

    async def run(self) -> None:
        """Hold all streams, for ever."""
        while True:
            await asyncio.sleep(HOLD_EVERY.total_seconds())
            await self.hold()

    async def hold(self) -> None:
        """Note of all streams that they are open; those of which a newer one is open in another process end."""
        streams = list(self._streams.values())
        for start in range(0, len(streams), HELD_AT_ONCE):
            part = streams[start : start + HELD_AT_ONCE]
            now = self._clock.now()
            others = await self._deliveries.hold([stream.conversation.hold(now) for stream in part])
            for stream in part:
                if found := others.get(stream.conversation.device_id):
                    stream.close(lost_to(found, stream.run_id))
