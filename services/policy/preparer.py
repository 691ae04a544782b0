"""Preparation of documents for many connected devices at once: one commit for a group, and then their streams speak.

INVARIANT: a stream offers only what is durable. What could not be prepared here the stream prepares itself, or ends.
"""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import datetime

from services._chassis.clock import Clock
from services._chassis.workers import Worker
from services.policy.model.delivery import Delivery
from services.policy.open_streams import OpenStreams
from services.policy.ports import DeliveryStep
from services.policy.streams.stream import PolicyStream
from services.policy.usecases.contained import Change, change_each, made_for
from services.policy.workers import DeliveryWriter

GROUP = 250
"""Devices in one commit: the offers of one group go out while the next is being committed."""

TURN = 20
"""Groups in a row: so long wait the answers to the first of them, which are kept the more together for it."""


class Preparer:
    """See to it that the streams of devices that may have another document now have something to offer."""

    def __init__(self, streams: OpenStreams, writer: DeliveryWriter, clock: Clock, *, group: int = GROUP) -> None:
        self._streams = streams
        self._writer = writer
        self._clock = clock
        self._group = group
        self._waiting: dict[str, None] = {}
        self._arrived = asyncio.Event()

    def look_at(self, device_ids: Iterable[str]) -> None:
        """Look soon at those of the devices whose streams are open here; those that are retired wait for nobody.

        In the order of their ids, the last being taken first: rows that lie side by side are written at less cost together.
        """
        for device_id in sorted(device_ids, reverse=True):
            if (stream := self._streams.of(device_id)) is None:
                continue
            if stream.conversation.leaving:
                stream.wake()
            else:
                self._waiting[device_id] = None
                self._arrived.set()

    def worker(self) -> Worker:
        """Return the worker that prepares."""
        return Worker("prepare_documents", self.run)

    async def run(self) -> None:
        """Prepare group after group, for ever."""
        while True:
            await self._arrived.wait()
            async with self._writer.first() as change:
                for _ in range(TURN):
                    if group := [self._waiting.popitem()[0] for _ in range(min(len(self._waiting), self._group))]:
                        await self._prepare(group, change)
            if not self._waiting:
                self._arrived.clear()

    async def _prepare(self, device_ids: Sequence[str], change: Change) -> None:
        streams = [stream for device_id in device_ids if (stream := self._streams.of(device_id)) is not None]
        now = self._clock.now()
        try:
            changing = [(stream, step) for stream in streams if (step := self._step(stream, now)) is not None]
            if changing:
                await _keep(changing, change)
        finally:
            for stream in streams:
                stream.wake()

    def _step(self, stream: PolicyStream, now: datetime) -> "DeliveryStep | None":
        conversation = stream.conversation
        return made_for(conversation.device_id, lambda: conversation.preparation(now))


async def _keep(changing: Sequence[tuple[PolicyStream, "DeliveryStep"]], change: Change) -> None:
    steps = [(stream.conversation.device_id, step) for stream, step in changing]
    for (stream, _), found in zip(changing, await change_each(change, steps), strict=True):
        if isinstance(found, Delivery):
            stream.conversation.take(found)
