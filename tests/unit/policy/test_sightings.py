"""What was seen of devices reaches the device service, soon and not again and again."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import grpc.aio
import pytest

from epm.device.v1 import lifecycle_pb2
from services._chassis.errors import UnavailableError
from services.policy.clients.directory import SightingReports
from services.policy.model.sightings import Sighting, certificate_used, suspected_clone
from services.policy.reporters import LARGEST_REPORT, QUIET, SightingReporter
from tests.builders.doors import open_doors, service_identity, settings_for
from tests.fakes.device_directory import FakeDeviceService


class Receiver:
    """Hear sightings, in the batches in which they come."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[tuple[str, ...]] = asyncio.Queue()
        self.failure: UnavailableError | None = None

    async def report(self, sightings: Sequence[Sighting]) -> None:
        """Take in sightings."""
        if self.failure:
            raise self.failure
        self.heard.put_nowait(tuple(sighting.device_id for sighting in sightings))


class Office:
    """A reporter at work."""

    def __init__(self) -> None:
        self.receiver = Receiver()
        self.seconds = 100.0
        self.reporter = SightingReporter(self.receiver, monotonic=lambda: self.seconds)

    async def heard(self) -> tuple[str, ...]:
        """Run the reporter until it tells something."""
        task = asyncio.create_task(self.reporter.run())
        async with asyncio.timeout(10):
            found = await self.receiver.heard.get()
        task.cancel()
        return found


async def test_a_sighting_is_told_once_a_minute_at_most() -> None:
    office = Office()
    office.reporter.saw(suspected_clone("d1"))
    office.reporter.saw(suspected_clone("d1"))
    assert await office.heard() == ("d1",)
    office.seconds += QUIET - 1
    office.reporter.saw(suspected_clone("d1"))
    office.reporter.saw(suspected_clone("d2"))
    assert await office.heard() == ("d2",)
    office.seconds += 1
    office.reporter.saw(suspected_clone("d1"))
    assert await office.heard() == ("d1",)


async def test_sightings_of_other_kinds_are_not_held_back() -> None:
    office = Office()
    office.reporter.saw(suspected_clone("d1"))
    assert await office.heard() == ("d1",)
    office.reporter.saw(certificate_used("d1", "1f"))
    assert await office.heard() == ("d1",)


async def test_what_was_not_heard_is_told_again() -> None:
    office = Office()
    office.reporter.saw(suspected_clone("d1"))
    office.receiver.failure = UnavailableError("the device service is away")
    with pytest.raises(UnavailableError):
        await office.reporter.run()
    office.receiver.failure = None
    assert await office.heard() == ("d1",)


async def test_more_than_fit_into_a_message_are_told_in_parts() -> None:
    office = Office()
    for number in range(LARGEST_REPORT + 1):
        office.reporter.saw(suspected_clone(f"d{number}"))
    assert len(await office.heard()) == LARGEST_REPORT
    assert len(await office.heard()) == 1


async def test_the_device_service_hears_what_was_seen(tmp_path: Path) -> None:
    service = FakeDeviceService()
    async with (
        open_doors(tmp_path, await service.build(settings_for(tmp_path))) as doors,
        doors.mesh(service_identity("policy")) as channel,
    ):
        await SightingReports(channel).report([suspected_clone("d1"), certificate_used("d2", "1f")])
    clone, used = service.sightings
    assert (clone.device_id, clone.kind, clone.certificate_serial) == (
        "d1",
        lifecycle_pb2.SIGHTING_KIND_SUSPECTED_CLONE,
        "",
    )
    assert (used.device_id, used.kind, used.certificate_serial) == (
        "d2",
        lifecycle_pb2.SIGHTING_KIND_CERTIFICATE_USED,
        "1f",
    )
    assert clone.detail


async def test_a_device_service_that_is_away_is_unavailable() -> None:
    async with grpc.aio.insecure_channel("127.0.0.1:1") as channel:
        with pytest.raises(UnavailableError):
            await SightingReports(channel).report([suspected_clone("d1")])
