"""Fixtures for the agent whole: servers on loopback, and a device that is enrolled there."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.fakes.agent_servers import FakeServers
from tests.unit.agent.whole import Device


@pytest.fixture
async def online() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
async def device(tmp_path: Path, online: AsyncExitStack) -> Device:
    found = Device(tmp_path, await online.enter_async_context(FakeServers().running()))
    await found.enrols()
    return found
