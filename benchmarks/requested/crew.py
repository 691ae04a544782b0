"""Devices whose users ask for approval, in a process of their own; what happens to each request is noted by one clock.

The crew obeys a pipe: ("connect", address) answers once each device holds a policy; ("ask", count, rate) has users ask, one
device after the other, so many a second or all at once (0), and answers with when each called and was answered; ("usable", keys)
answers once all of these may elevate; ("end",) ends. Times are of the machine's one monotonic clock.
"""

import asyncio
import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from multiprocessing.connection import Connection
from time import monotonic
from typing import Protocol

PATIENCE = 30.0
"""Seconds after which a request that nobody can use has failed."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Tell when a device called the server for its user, and when it was answered."""

    called: float
    answered: float


@dataclass(slots=True)
class Notes:
    """Hold when requests came to something on their devices."""

    offered: dict[str, float] = field(default_factory=dict)
    """When the document with the grant was there."""
    usable: dict[str, float] = field(default_factory=dict)
    """When it was in force and acknowledged, and the kernel elevated by it."""
    offer_bytes: int = 0
    """Of the last offer."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def is_usable(self, key: str, offered: float) -> None:
        """Note that the user may elevate now."""
        self.offered[key], self.usable[key] = offered, monotonic()
        self.changed.set()

    async def until_usable(self, keys: Collection[str]) -> None:
        """Wait until all of them may."""
        async with asyncio.timeout(PATIENCE):
            while not self.usable.keys() >= set(keys):
                self.changed.clear()
                await self.changed.wait()


class Device(Protocol):
    """Ask for a user, and note when that came to something."""

    async def connect(self, address: str) -> None:
        """Open the stream, and hold a policy."""
        ...

    async def ask(self, key: str) -> Asked:
        """Ask for approval of something new, under a key that nobody else has."""
        ...

    async def close(self) -> None:
        """Drop the connection."""
        ...


class Crew:
    """Obey the pipe."""

    def __init__(self, devices: Sequence[Device], notes: Notes) -> None:
        self._devices = devices
        self._turns = cycle(devices)
        self._notes = notes
        self._die = random.Random(1)
        self._number = 0

    async def serve(self, pipe: Connection) -> None:
        """Do what is asked until the end is."""
        while (command := await asyncio.to_thread(pipe.recv))[0] != "end":
            match command:
                case ("connect", address):
                    await asyncio.gather(*(device.connect(address) for device in self._devices))
                    pipe.send(len(self._devices))
                case ("ask", count, rate):
                    pipe.send(await self._ask(count, rate))
                case (_, keys):
                    await self._notes.until_usable(keys)
                    pipe.send((self._notes.offered, self._notes.usable, self._notes.offer_bytes))
        await asyncio.gather(*(device.close() for device in self._devices))

    async def _ask(self, count: int, rate: float) -> dict[str, Asked]:
        """Let users ask, whoever else still waits; at a rate, they come by chance, as people do."""
        asking: dict[str, asyncio.Task[Asked]] = {}
        due = monotonic()
        for _ in range(count):
            if rate:
                due += self._die.expovariate(rate)
                await asyncio.sleep(max(due - monotonic(), 0))
            self._number += 1
            key = f"attempt-{self._number:08}"
            asking[key] = asyncio.create_task(next(self._turns).ask(key))
        return dict(zip(asking, await asyncio.gather(*asking.values()), strict=True))
