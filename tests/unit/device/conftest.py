"""The device service, running."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.builders.device_service import DeviceService, device_service


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[DeviceService]:
    """Run the service for one test."""
    async with device_service(tmp_path) as running:
        yield running
