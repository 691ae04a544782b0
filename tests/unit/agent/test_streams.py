"""The agent's conversations, held with real servers on loopback."""

import asyncio
import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

import grpc.aio
import pytest

from agent_stub.checkin import CheckIn
from agent_stub.events.records import EventFactory
from agent_stub.events.spool import Spool
from agent_stub.events.upload import Uploader
from agent_stub.links import MESSAGE_LIMIT, Channels, End, Link, SessionError, keep
from agent_stub.policy.keeper import PolicyKeeper
from agent_stub.policy.manifest import PolicyRefusedError
from agent_stub.policy.stream import CAUGHT_UP, PolicyStream
from elevation.codec.document import encode_document
from epm.device.v1 import agent_pb2 as device_pb2
from epm.device.v1 import agent_pb2_grpc as device_grpc
from epm.policy.v1 import agent_pb2 as policy_pb2
from epm.policy.v1 import agent_pb2_grpc as policy_grpc
from epm.reporting.v1 import agent_pb2 as reporting_pb2
from epm.reporting.v1 import agent_pb2_grpc as reporting_grpc
from tests.builders.elevation import policy, rule
from tests.fakes.agent import DEVICE_ID, NOW, FakeDelays, FakeDisk, FakeMoments, Installation, Numbers, document
from tests.fakes.agent_requests import DENIED, elevation_request
from tests.fakes.agent_servers import FakeServers

CONTENT = document(policy(rule("r", file_name="setup.exe", file_hash="a" * 64)))
PATIENCE = 20
Ending = TypeVar("Ending")


@dataclass
class Device:
    servers: FakeServers
    channels: Channels
    keeper: PolicyKeeper
    spool: Spool
    link: Link = field(default_factory=lambda: Link("link"))
    changes: asyncio.Queue[None] = field(default_factory=asyncio.Queue)
    refusals: list[PolicyRefusedError] = field(default_factory=list)
    delays: FakeDelays = field(default_factory=FakeDelays)
    now: datetime = NOW

    def policy(self) -> PolicyStream:
        return PolicyStream(
            policy_grpc.PolicyStreamServiceStub(self.channels.to(self.servers.mesh_address)),
            self.keeper,
            lambda: policy_pb2.Hello(device_id=DEVICE_ID, agent_version="1", boot_id="boot"),
            delays=self.delays,
            now=lambda: self.now,
            changed=lambda: self.changes.put_nowait(None),
            refused=self.refusals.append,
        )

    def uploader(self) -> Uploader:
        stub = reporting_grpc.EventStreamServiceStub(self.channels.to(self.servers.mesh_address))
        return Uploader(stub, self.spool, reporting_pb2.EventsHello(device_id=DEVICE_ID))

    def check_in(self) -> CheckIn:
        stub = device_grpc.DeviceAgentServiceStub(self.channels.to(self.servers.mesh_address))
        request = device_pb2.CheckInRequest(facts=device_pb2.DeviceFacts(os="linux"))
        return CheckIn(stub.CheckIn, lambda: request, lambda: self.now)

    async def said(self) -> policy_pb2.StreamPolicyRequest:
        return await asyncio.wait_for(self.servers.policy.said.get(), PATIENCE)

    async def batch(self) -> reporting_pb2.EventBatch:
        return await asyncio.wait_for(self.servers.events.batches.get(), PATIENCE)

    def goodbye(self, **fields: object) -> None:
        message = policy_pb2.GoAway(**fields)  # type: ignore[arg-type]
        self.servers.policy.outbox.put_nowait(policy_pb2.StreamPolicyResponse(go_away=message))


@asynccontextmanager
async def open_device(folder: Path) -> AsyncIterator[Device]:
    async with FakeServers().running() as servers:
        house = servers.installation
        channels = Channels(house.identity(), house.credentials())
        factory = EventFactory("boot", FakeMoments().now, Numbers())
        spool = Spool(folder, FakeDisk(), Numbers(), limit=1 << 20, factory=factory)
        yield Device(servers, channels, PolicyKeeper(folder, house.identity()), spool)
        await channels.close()


@pytest.fixture
async def device(tmp_path: Path) -> AsyncIterator[Device]:
    async with open_device(tmp_path) as opened:
        opened.spool.policy_changed(health_leaves=True)
        yield opened


def damage(path: Path, old: bytes, new: bytes) -> None:
    path.write_bytes(path.read_bytes().replace(old, new))


@asynccontextmanager
async def session(task: "asyncio.Task[Ending]") -> AsyncIterator["asyncio.Task[Ending]"]:
    yield task
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_the_device_says_what_it_holds_and_answers_an_offer_by_its_nonce(device: Device) -> None:
    async with session(asyncio.create_task(device.policy().session(device.link))):
        hello = (await device.said()).hello
        assert (hello.device_id, hello.revision, hello.document_sha256) == (DEVICE_ID, 0, b"")
        assert list(hello.capabilities) == ["policy-document/1"]
        offer = device.servers.installation.offer(CONTENT, 3)
        device.servers.policy.offer(offer)
        ack = (await device.said()).ack
        assert (ack.nonce, ack.revision) == (offer.nonce, 3)
        assert device.link.connected
    async with session(asyncio.create_task(device.policy().session(device.link))):
        again = (await device.said()).hello
        assert device.keeper.held is not None
        assert (again.revision, again.document_sha256) == (3, device.keeper.held.sha256)


async def test_a_refused_offer_is_answered_with_all_reasons_and_the_stream_goes_on(device: Device) -> None:
    async with session(asyncio.create_task(device.policy().session(device.link))):
        await device.said()
        device.servers.policy.offer(device.servers.installation.offer(CONTENT, 3, tenant="x", device_id="y"))
        nack = (await device.said()).nack
        assert (nack.revision, len(nack.reasons)) == (3, 2)
        assert [error.reasons for error in device.refusals] == [list(nack.reasons)]
        device.servers.policy.offer(device.servers.installation.offer(CONTENT, 4))
        assert (await device.said()).ack.revision == 4


async def test_an_answer_with_very_many_reasons_still_fits_into_a_message(device: Device) -> None:
    message = encode_document(CONTENT)
    for number in range(2000):
        message.users.add(user=f"user-{number}").settings.default_response = 99  # type: ignore[assignment]
    async with session(asyncio.create_task(device.policy().session(device.link))):
        await device.said()
        device.servers.policy.offer(device.servers.installation.offer(message.SerializeToString(), 3))
        nack = (await device.said()).nack
        assert (len(nack.reasons), nack.reasons[-1]) == (1001, "and 1000 more")


async def test_a_confirmation_moves_the_time_of_the_last_contact(device: Device) -> None:
    house = device.servers.installation
    device.keeper.apply(house.offer(CONTENT, 1), NOW - timedelta(days=1))
    assert device.keeper.held is not None
    up_to_date = policy_pb2.UpToDate(signed_manifest=house.signed(device.keeper.held.sha256, 1))
    device.servers.policy.outbox.put_nowait(policy_pb2.StreamPolicyResponse(up_to_date=up_to_date))
    device.goodbye(reason=policy_pb2.GO_AWAY_REASON_DRAINING, reconnect_within={"seconds": 9})
    assert await device.policy().session(device.link) == End("DRAINING", 9.0)
    assert device.keeper.confirmed == NOW


async def test_a_welcome_that_comes_again_is_a_sign_of_life_and_no_more(device: Device) -> None:
    device.servers.policy.outbox.put_nowait(policy_pb2.StreamPolicyResponse(welcome=policy_pb2.Welcome()))
    device.goodbye(reason=policy_pb2.GO_AWAY_REASON_DRAINING, reconnect_within={"seconds": 9})
    assert await device.policy().session(device.link) == End("DRAINING", 9.0)


async def test_what_was_refused_for_the_clock_is_in_force_once_the_clock_is_right(device: Device) -> None:
    welcome = policy_pb2.StreamPolicyResponse(welcome=policy_pb2.Welcome())
    device.now = NOW + timedelta(days=3)
    async with session(asyncio.create_task(device.policy().session(device.link))) as task:
        assert (await device.said()).HasField("hello")
        device.servers.policy.offer(device.servers.installation.offer(CONTENT, 3))
        nack = (await device.said()).nack
        assert ("expired" in nack.reasons[0], nack.temporary) == (True, True)
        device.servers.policy.outbox.put_nowait(welcome)
        device.servers.policy.offer(device.servers.installation.offer(b"no document", 4))
        nack = (await device.said()).nack
        assert (len(nack.reasons), nack.temporary) == (2, False)
        device.now = NOW
        device.servers.policy.outbox.put_nowait(welcome)
        device.goodbye(reason=policy_pb2.GO_AWAY_REASON_DRAINING, reconnect_within={"seconds": 9})
        assert await task == End("DRAINING", 9.0)  # an older one, or one that is wrong itself, is not taken up
        assert device.changes.empty()
    device.now = NOW + timedelta(days=3)
    async with session(asyncio.create_task(device.policy().session(device.link))) as task:
        device.servers.policy.offer(device.servers.installation.offer(CONTENT, 5))
        while not (await device.said()).HasField("nack"):
            pass
        device.now = NOW
        device.servers.policy.outbox.put_nowait(welcome)
        assert await task == CAUGHT_UP
    assert device.keeper.held is not None
    assert (device.keeper.held.revision, device.changes.qsize(), len(device.refusals)) == (5, 1, 3)


async def test_the_hello_names_the_keys_by_which_the_device_verifies_policy(device: Device) -> None:
    async with session(asyncio.create_task(device.policy().session(device.link))):
        assert list((await device.said()).hello.policy_key_ids) == list(device.keeper.key_ids) != []


async def test_a_stream_that_was_superseded_is_not_opened_again(device: Device) -> None:
    device.goodbye(reason=policy_pb2.GO_AWAY_REASON_SUPERSEDED)
    assert await device.policy().session(device.link) == End("SUPERSEDED", None)


async def test_a_server_that_is_too_busy_is_left_alone_for_as_long_as_it_says(device: Device) -> None:
    device.servers.policy.greeting = policy_pb2.StreamPolicyResponse(
        throttle=policy_pb2.Throttle(retry_after={"seconds": 7})  # type: ignore[arg-type]
    )
    end = await device.policy().session(device.link)
    assert (end.come_back_within, end.not_before) == (7, 7)
    assert not device.link.connected
    async with session(asyncio.create_task(keep(device.link, device.policy().session, device.delays))):
        await asyncio.wait_for(device.delays.waiting.acquire(), PATIENCE)
        assert device.delays.pauses == [14]
        assert "too many devices come at once, not before 7 s" in str(device.link.shown()["problem"])


@pytest.mark.parametrize(("seconds", "kept"), [(-5, 0), (10**6, 3600)])
async def test_a_server_does_not_send_a_device_away_for_ever(device: Device, seconds: int, kept: int) -> None:
    throttle = policy_pb2.Throttle(retry_after={"seconds": seconds})  # type: ignore[arg-type]
    device.servers.policy.outbox.put_nowait(policy_pb2.StreamPolicyResponse(throttle=throttle))
    assert (await device.policy().session(device.link)).not_before == kept


async def test_a_stream_that_is_silent_for_two_heartbeats_is_dead(device: Device) -> None:
    device.servers.policy.greeting = welcome(30)
    async with session(asyncio.create_task(device.policy().session(device.link))) as task:
        await device.said()
        await asyncio.wait_for(device.delays.waiting.acquire(), PATIENCE)
        assert device.delays.pauses == [60]
        device.delays.go_on()
        with pytest.raises(SessionError, match="the server was silent for 60 s, longer than it promised"):
            await asyncio.wait_for(task, PATIENCE)


async def test_every_message_is_a_heartbeat(device: Device) -> None:
    device.servers.policy.greeting = welcome(30)
    async with session(asyncio.create_task(device.policy().session(device.link))):
        await device.said()
        for revision in (1, 2):
            await asyncio.wait_for(device.delays.waiting.acquire(), PATIENCE)
            device.servers.policy.offer(device.servers.installation.offer(CONTENT, revision))
            assert (await device.said()).ack.revision == revision
        await asyncio.wait_for(device.delays.waiting.acquire(), PATIENCE)
        assert device.delays.pauses == [60, 60, 60]
        assert device.link.connected


async def test_a_server_without_a_heartbeat_is_not_watched(device: Device) -> None:
    async with session(asyncio.create_task(device.policy().session(device.link))):
        await device.said()
        device.servers.policy.offer(device.servers.installation.offer(CONTENT, 3))
        assert (await device.said()).ack.revision == 3
        assert device.delays.pauses == []


def welcome(heartbeat: int) -> policy_pb2.StreamPolicyResponse:
    return policy_pb2.StreamPolicyResponse(
        welcome=policy_pb2.Welcome(heartbeat={"seconds": heartbeat})  # type: ignore[arg-type]
    )


async def test_a_message_over_the_limit_ends_the_stream_and_keeps_the_policy(device: Device) -> None:
    device.keeper.apply(device.servers.installation.offer(CONTENT, 1), NOW)
    device.servers.policy.offer(policy_pb2.Offer(document=bytes(MESSAGE_LIMIT + 1)))
    with pytest.raises(grpc.aio.AioRpcError, match="larger than max"):
        await device.policy().session(device.link)
    assert device.keeper.held is not None


async def test_a_server_of_another_authority_is_not_believed(device: Device, tmp_path: Path) -> None:
    stranger = Installation()
    channels = Channels(stranger.identity(), stranger.credentials())
    other = Device(device.servers, channels, PolicyKeeper(tmp_path, stranger.identity()), device.spool)
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await asyncio.wait_for(other.policy().session(other.link), PATIENCE)
    assert error.value.code() is grpc.StatusCode.UNAVAILABLE
    assert not other.link.connected
    await channels.close()


async def test_a_check_in_tells_the_facts(device: Device) -> None:
    end = await device.check_in().session(device.link)
    assert device.servers.device.check_ins.get_nowait().facts.os == "linux"
    assert end.come_back_within is not None
    assert device.link.connected


async def test_a_check_in_is_shown_by_its_last_answer_and_not_as_connected_once_a_call_failed(device: Device) -> None:
    delays = FakeDelays()
    async with session(asyncio.create_task(keep(device.link, device.check_in().session, delays))):
        await asyncio.wait_for(delays.waiting.acquire(), PATIENCE)
        assert device.link.shown() == {"connected": True, "problem": "", "lastAnswered": NOW.isoformat()}

        device.now += timedelta(minutes=5)
        device.servers.device.refusal = (grpc.StatusCode.UNAVAILABLE, "gone")
        delays.go_on()
        await asyncio.wait_for(delays.waiting.acquire(), PATIENCE)
        assert device.link.shown() == {
            "connected": False,
            "problem": "UNAVAILABLE: gone",
            "lastAnswered": NOW.isoformat(),
        }

        device.servers.device.refusal = None
        delays.go_on()
        await asyncio.wait_for(delays.waiting.acquire(), PATIENCE)
        assert device.link.shown() == {"connected": True, "problem": "", "lastAnswered": device.now.isoformat()}


def outcome(sequence: int) -> policy_pb2.StreamPolicyResponse:
    told = policy_pb2.RequestOutcome(sequence=sequence, request=elevation_request(f"r-{sequence}", DENIED))
    return policy_pb2.StreamPolicyResponse(outcome=told)


async def test_outcomes_are_confirmed_once_they_are_kept(device: Device) -> None:
    kept: list[str] = []
    stream = device.policy()
    stream.take_outcomes(lambda told: kept.append(told.request.id))
    async with session(asyncio.create_task(stream.session(device.link))):
        assert list((await device.said()).hello.capabilities) == ["policy-document/1", "request-outcomes/1"]
        for sequence in (7, 8):
            device.servers.policy.outbox.put_nowait(outcome(sequence))
            assert (await device.said()).outcomes_kept.sequence == sequence
        assert kept == ["r-7", "r-8"]


async def test_an_outcome_that_cannot_be_kept_ends_the_stream_so_that_no_later_one_confirms_it(device: Device) -> None:
    def fails(told: policy_pb2.RequestOutcome) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", told.request.id)

    stream = device.policy()
    stream.take_outcomes(fails)
    device.servers.policy.outbox.put_nowait(outcome(7))
    with pytest.raises(SessionError, match=r"what became of a request cannot be kept \(no space left on device\)"):
        await asyncio.wait_for(stream.session(device.link), PATIENCE)
    assert (await device.said()).HasField("hello")
    assert device.servers.policy.said.empty()


async def test_a_device_that_takes_no_outcomes_takes_them_for_a_fault(device: Device) -> None:
    device.servers.policy.outbox.put_nowait(outcome(7))
    with pytest.raises(SessionError, match="the server sent outcome where an offer was due"):
        await asyncio.wait_for(device.policy().session(device.link), PATIENCE)
