"""The renewal of a device's certificate: with real certificates, and a device that dies or runs full at every step."""

import asyncio
import errno
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import grpc
import grpc.aio
import pytest
from cryptography import x509

from agent_stub import identity_store
from agent_stub.files import StateDisk
from agent_stub.identity_store import CandidateStore
from agent_stub.links import SessionError
from agent_stub.model import Credentials, Identity
from agent_stub.renewal import HALF, SPREAD, Certificates, Renewal, leaf_of, renewal_time
from epm.device.v1 import agent_pb2
from tests.fakes.agent import DEVICE_ID, FakeDelays, FakeMoments, Installation
from tests.fakes.agent_servers import FakeServers

PATIENCE = 20
STEPS = range(6)
HELLO = agent_pb2.CheckInRequest()


class KilledError(BaseException):
    """The process is no more."""


class MortalDisk(StateDisk):
    """The real disk, until its device dies or it runs full before one of its steps."""

    def __init__(self, steps: int | None = None, *, fault: BaseException | None = None) -> None:
        self.left = steps
        self.fault = fault or KilledError()

    def write(self, path: Path, content: bytes) -> None:
        self._step()
        super().write(path, content)

    def move(self, path: Path, place: Path) -> None:
        self._step()
        super().move(path, place)

    def remove(self, path: Path) -> None:
        self._step()
        super().remove(path)

    def _step(self) -> None:
        if self.left == 0:
            raise self.fault
        if self.left is not None:
            self.left -= 1


@dataclass
class Device:
    folder: Path
    servers: FakeServers
    opened: list[Certificates] = field(default_factory=list)

    def starts(self, disk: StateDisk | None = None) -> Certificates:
        identity, credentials = identity_store.load(self.folder)
        found = Certificates(identity, credentials, CandidateStore(self.folder, disk or StateDisk()))
        self.opened.append(found)
        return found

    @property
    def serial(self) -> int:
        return leaf_of(identity_store.load(self.folder)[1]).serial_number

    def files(self) -> set[str]:
        return {path.name for path in self.folder.iterdir()}


@pytest.fixture
async def device(tmp_path: Path) -> AsyncIterator[Device]:
    async with FakeServers().running() as servers:
        house = servers.installation
        enrolled(tmp_path, house.identity(servers.mesh_address), house.credentials())
        device = Device(tmp_path, servers)
        yield device
        for certificates in device.opened:
            await certificates.close()


def enrolled(folder: Path, identity: Identity, credentials: Credentials) -> None:
    (folder / identity_store.KEY).write_bytes(credentials.key)
    identity_store.save(folder, identity, credentials)


WHOLE = {"identity.json", "key.pem", "certificate.pem", "ca.pem"}


async def test_a_renewed_certificate_is_promoted_once_the_server_took_it(device: Device) -> None:
    old, certificates = device.serial, device.starts()
    before = certificates.channels
    await certificates.renew()
    assert (device.serial, certificates.channels) == (old, before)
    assert device.files() == WHOLE | {"candidate.key", "candidate.crt", "candidate.ca"}
    await certificates.check_in(HELLO)
    assert device.serial == device.servers.device.unused != old
    assert (device.files(), certificates.channels is before) == (WHOLE, False)
    assert certificates.promoted.is_set()
    assert {path.stat().st_mode & 0o777 for path in device.folder.iterdir()} == {0o600}
    await before.close()


async def test_the_key_is_another_and_was_kept_before_it_was_told(device: Device) -> None:
    device.servers.device.refusal = (grpc.StatusCode.UNAVAILABLE, "gone")
    certificates = device.starts()
    with pytest.raises(grpc.aio.AioRpcError):
        await certificates.renew()
    kept = (device.folder / "candidate.key").read_bytes()
    assert kept != (device.folder / "key.pem").read_bytes()
    device.servers.device.refusal = None
    await device.starts().renew()
    request = x509.load_pem_x509_csr(device.servers.device.renewals.get_nowait().csr_pem.encode())
    assert (device.folder / "candidate.key").read_bytes() == kept
    candidate = x509.load_pem_x509_certificate((device.folder / "candidate.crt").read_bytes())
    assert request.public_key() == candidate.public_key()


async def renews(certificates: Certificates) -> None:
    await certificates.renew()
    await certificates.check_in(HELLO)


@pytest.mark.parametrize("step", STEPS)
async def test_a_device_that_dies_at_any_step_starts_with_an_identity_that_works(device: Device, step: int) -> None:
    with pytest.raises(KilledError):
        await renews(device.starts(MortalDisk(step)))
    again = device.starts()
    await again.check_in(HELLO)
    if step < 3:
        assert not again.on_trial
        await renews(again)
    assert (device.serial, device.files()) == (device.servers.device.unused, WHOLE)
    assert device.servers.device.clones == []


@pytest.mark.parametrize("step", STEPS)
async def test_a_disk_that_is_full_at_any_step_delays_the_renewal_and_breaks_nothing(device: Device, step: int) -> None:
    disk = MortalDisk(step, fault=OSError(errno.ENOSPC, "No space left on device"))
    certificates = device.starts(disk)
    if step < 3:
        with pytest.raises(OSError, match="No space left"):
            await certificates.renew()
        await certificates.check_in(HELLO)
    else:
        await certificates.renew()
        await certificates.check_in(HELLO)
        assert "cannot take its place on the disk (No space left on device)" in certificates.problem
        await device.starts().check_in(HELLO)
    disk.left = None
    await certificates.renew()
    await certificates.check_in(HELLO)
    assert (device.serial, device.files()) == (device.servers.device.unused, WHOLE)
    assert device.servers.device.clones == []


@pytest.mark.parametrize("step", [3, 4, 5])
async def test_a_promotion_that_the_disk_interrupted_is_finished_before_the_next_renewal(
    device: Device, step: int
) -> None:
    disk = MortalDisk(step, fault=OSError(errno.EIO, "Input/output error"))
    certificates = device.starts(disk)
    await renews(certificates)
    in_use = leaf_of(certificates.credentials)
    with pytest.raises(OSError, match="Input/output error"):
        await certificates.renew()
    disk.left = None
    await certificates.renew()
    assert device.serial == in_use.serial_number
    csr = [device.servers.device.renewals.get_nowait() for _ in range(2)][-1].csr_pem
    assert x509.load_pem_x509_csr(csr.encode()).public_key() != in_use.public_key()


async def test_a_certificate_that_the_server_took_without_its_answer_arriving_is_the_one_that_is_tried_again(
    device: Device,
) -> None:
    certificates = device.starts()
    await certificates.renew()
    device.servers.device.loses_answers = True
    with pytest.raises(grpc.aio.AioRpcError):
        await certificates.check_in(HELLO)
    assert (certificates.on_trial, "not taken yet: UNAVAILABLE" in certificates.problem) == (True, True)
    device.servers.device.loses_answers = False
    again = device.starts()
    assert not again.tried.is_set()
    await again.check_in(HELLO)
    assert (again.tried.is_set(), again.on_trial, device.servers.device.clones) == (True, False, [])
    await certificates.check_in(HELLO)
    assert device.servers.device.clones == []


async def test_a_candidate_that_the_server_refuses_is_given_up_and_the_old_certificate_goes_on(device: Device) -> None:
    old, certificates = device.serial, device.starts()
    await certificates.renew()
    device.servers.device.replaced.add(device.servers.device.unused)
    with pytest.raises(grpc.aio.AioRpcError, match="the certificate was replaced"):
        await certificates.check_in(HELLO)
    assert (certificates.on_trial, device.files(), device.serial) == (False, WHOLE, old)
    await certificates.check_in(HELLO)
    await certificates.renew()
    await certificates.check_in(HELLO)
    assert device.serial != old


async def test_a_key_that_the_server_does_not_want_is_not_offered_again(device: Device) -> None:
    certificates = device.starts()
    device.servers.device.refusal = (grpc.StatusCode.INVALID_ARGUMENT, "csr_pem: the key is of another device")
    with pytest.raises(grpc.aio.AioRpcError):
        await certificates.renew()
    assert device.files() == WHOLE


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"certificate_pem": Installation().credentials().certificate.decode()}, "the certificate is for another key"),
        ({"ca_pem": Installation().authority.pem.decode()}, "the certificate is of another authority than ca_pem"),
        ({"certificate_pem": "broken"}, "certificate_pem or ca_pem cannot be read"),
    ],
)
async def test_an_answer_that_does_not_fit_is_no_candidate(
    device: Device, changes: dict[str, object], problem: str
) -> None:
    device.servers.device.changes = changes
    with pytest.raises(SessionError, match=problem):
        await device.starts().renew()
    assert device.files() == WHOLE | {"candidate.key"}


@pytest.mark.parametrize("damaged", ["candidate.key", "candidate.crt", "candidate.ca"])
async def test_a_damaged_candidate_is_forgotten(device: Device, damaged: str) -> None:
    old = device.serial
    await device.starts().renew()
    (device.folder / damaged).write_bytes(b"damage")
    again = device.starts()
    assert (again.on_trial, device.files(), device.serial) == (False, WHOLE, old)
    await again.check_in(HELLO)


async def test_a_damaged_key_of_an_interrupted_renewal_is_replaced(device: Device) -> None:
    (device.folder / "candidate.key").write_bytes(b"damage")
    certificates = device.starts()
    await certificates.renew()
    await certificates.check_in(HELLO)
    assert device.files() == WHOLE


class Timing:
    """A device whose renewals run by the test's clock."""

    def __init__(self, device: Device) -> None:
        self.certificates = device.starts()
        self.clock = FakeMoments(device.servers.installation.present)
        self.delays = FakeDelays()
        self.came = asyncio.Event()
        self.renewal = Renewal(self.certificates, clock=self.clock, delays=self.delays, candidate_came=self.came.set)
        self.due = renewal_time(leaf_of(self.certificates.credentials))

    async def waits(self) -> float:
        await asyncio.wait_for(self.delays.waiting.acquire(), PATIENCE)
        return self.delays.pauses[-1]

    async def promotes(self) -> None:
        await asyncio.wait_for(self.came.wait(), PATIENCE)
        self.came.clear()
        assert await self.waits() == 3600
        await self.certificates.check_in(HELLO)


@pytest.fixture
async def timing(device: Device) -> AsyncIterator[Timing]:
    timing = Timing(device)
    task = asyncio.create_task(timing.renewal.keep())
    yield timing
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_certificate_is_renewed_when_half_of_its_life_is_over(device: Device, timing: Timing) -> None:
    assert await timing.waits() == 3600
    timing.clock.wall = timing.due - timedelta(seconds=9)
    timing.delays.go_on()
    assert await timing.waits() == 9
    assert device.servers.device.renewals.empty()
    timing.clock.wall = timing.due
    timing.delays.go_on()
    await timing.promotes()
    assert await timing.waits() == 3600
    assert timing.renewal.shown()["problem"] == ""


async def test_devices_that_enrolled_together_do_not_renew_together(device: Device) -> None:
    house = device.servers.installation
    parts = set()
    for _ in range(5):
        leaf = leaf_of(house.credentials())
        life = leaf.not_valid_after_utc - leaf.not_valid_before_utc
        parts.add((renewal_time(leaf) - leaf.not_valid_before_utc) / life)
    assert len(parts) == 5
    assert all(HALF <= part < HALF + SPREAD for part in parts)


async def test_a_server_that_does_not_renew_is_asked_ever_more_rarely(device: Device, timing: Timing) -> None:
    device.servers.device.refusal = (grpc.StatusCode.UNAVAILABLE, "gone")
    await timing.waits()
    timing.clock.wall = timing.due
    for bound in (1, 2, 4):
        timing.delays.go_on()
        assert await timing.waits() == bound
    assert timing.renewal.shown()["problem"] == "the certificate was not renewed: UNAVAILABLE: gone"
    device.servers.device.refusal = None
    timing.delays.go_on()
    await timing.promotes()
    assert await timing.waits() == 3600
    assert timing.renewal.shown()["problem"] == ""


async def test_a_server_that_names_a_wait_is_asked_after_that_and_within_as_much_again(
    device: Device, timing: Timing
) -> None:
    device.servers.device.refusal = (grpc.StatusCode.RESOURCE_EXHAUSTED, "too often")
    device.servers.device.retry_after = timedelta(seconds=360)
    await timing.waits()
    timing.clock.wall = timing.due
    timing.delays.go_on()
    assert (await timing.waits(), timing.delays.bounds[-1]) == (720, 360)
    device.servers.device.retry_after = timedelta(days=3)
    timing.delays.go_on()
    assert (await timing.waits(), timing.delays.bounds[-1]) == (7200, 3600)
    device.servers.device.retry_after = None
    timing.delays.go_on()
    assert await timing.waits() == 4
    device.servers.device.refusal = None
    timing.delays.go_on()
    await timing.promotes()


async def test_a_candidate_that_was_refused_is_followed_by_another_after_a_wait(device: Device, timing: Timing) -> None:
    await timing.waits()
    timing.clock.wall = timing.due
    timing.delays.go_on()
    await asyncio.wait_for(timing.came.wait(), PATIENCE)
    await timing.waits()
    device.servers.device.replaced.add(device.servers.device.unused)
    with pytest.raises(grpc.aio.AioRpcError):
        await timing.certificates.check_in(HELLO)
    assert await timing.waits() == 1
    timing.came.clear()
    timing.delays.go_on()
    await timing.promotes()


async def test_a_life_of_seconds_is_renewed_within_it_and_not_without_end(device: Device) -> None:
    house = device.servers.installation
    device.servers.device.lifetime = life = timedelta(minutes=1)
    enrolled(device.folder, house.identity(device.servers.mesh_address), house.credentials(lifetime=life))
    timing = Timing(device)
    task = asyncio.create_task(timing.renewal.keep())
    for _ in range(2):  # certificates begin minutes before they are signed, so half of this life is over at once
        await timing.promotes()
        assert 0 < await timing.waits() <= 30
        timing.clock.since_boot += timedelta(seconds=30)
        timing.delays.go_on()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_clock_that_is_ahead_of_every_certificate_does_not_renew_without_end(timing: Timing) -> None:
    await timing.waits()
    timing.clock.wall += timedelta(days=365)
    timing.delays.go_on()
    await timing.promotes()
    assert await timing.waits() == 3600
    assert "check the device's clock" in str(timing.renewal.shown()["problem"])


async def test_an_expired_certificate_is_a_problem_with_a_remedy(timing: Timing) -> None:
    leaf = leaf_of(timing.certificates.credentials)
    timing.clock.wall = leaf.not_valid_after_utc - timedelta(seconds=1)
    assert timing.renewal.shown()["problem"] == ""
    timing.clock.wall = leaf.not_valid_after_utc
    shown = timing.renewal.shown()
    assert str(shown["problem"]).startswith(f"the certificate expired at {shown['expires']}")
    assert "run `epm-agent enroll` with a new token for this device" in str(shown["problem"])
    assert DEVICE_ID not in str(shown)
