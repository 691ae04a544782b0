"""The clock, chance and identifiers of this machine, behind the agent's ports."""

import asyncio
import platform
import random
import secrets
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import uuid_utils

from agent_stub.model import Moment
from elevation.words import Platform
from epm.device.v1 import agent_pb2

VERSION = "0.1.0"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class SystemClock:
    """The wall clock, and the time since the machine started (suspension included, where the system counts it)."""

    def now(self) -> Moment:
        """Give the present moment."""
        kind = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
        return Moment(datetime.now(UTC), timedelta(seconds=time.clock_gettime(kind)))


class SystemDelays:
    """Waits by the event loop, drawn from the system's chance."""

    def __init__(self) -> None:
        self._random = random.SystemRandom()

    async def pause(self, seconds: float) -> None:
        """Wait that long."""
        await asyncio.sleep(seconds)

    def jitter(self, most: float) -> float:
        """Draw a number of seconds between 0 and the given one."""
        return self._random.uniform(0, most)


def new_id() -> str:
    """Make a UUIDv7."""
    return str(uuid_utils.uuid7())


def new_run_id() -> str:
    """Draw the identifier of this run of the agent: a copy of its disk must not know it."""
    return secrets.token_hex(16)


def boot_id() -> str:
    """Give the identifier of the machine's present run; where the system has none, of the agent's."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return new_id()


def facts(kind: Platform, users: Iterable[str]) -> agent_pb2.DeviceFacts:
    """Describe the device and who uses it."""
    return agent_pb2.DeviceFacts(
        os=kind.name.lower(),
        os_version=platform.release(),
        architecture=platform.machine(),
        agent_version=VERSION,
        users=users,
    )
