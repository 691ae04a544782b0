import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import grpc
import grpc.aio
import pytest

from epm.reporting.v1 import agent_pb2, agent_pb2_grpc
from services._chassis.client import MESSAGE_LIMIT
from services._chassis.errors import InvalidError
from services._chassis.server import ServiceParts
from services.reporting.agent_servicer import EventStreamServicer
from services.reporting.model.devices import Device, Directory
from services.reporting.open_streams import GREETED_OF_ONE, OpenStreams
from services.reporting.streams import EventStream
from services.reporting.usecases import admit
from services.reporting.workers import GroupCommitWriter
from tests.builders.doors import OpenDoors, device_identity, open_doors, service_identity
from tests.fakes.access import FakeAccess
from tests.fakes.clock import NOW, FakeClock
from tests.fakes.reporting import DeviceStream, FakeSink, decided, enrolled, message, uuid7

CREDIT = 10


class World:
    """A reporting service behind real doors, with a sink in memory."""

    def __init__(self) -> None:
        self.sink = FakeSink()
        self.streams = OpenStreams()
        self.directory = Directory({"d1": enrolled("d1"), "d2": enrolled("d2")})
        self.directory.devices["gone"] = Device("gone", "gone", enrolled=False)
        self.writer = GroupCommitWriter(self.sink)
        self.asked = asyncio.Event()
        self.doors: OpenDoors

    async def admitted(self, device_id: str, serial: str) -> Device:
        self.asked.set()
        return admit(self.directory, device_id, serial)

    def parts(self) -> ServiceParts:
        servicer = EventStreamServicer(self.admitted, self.streams, self.writer, FakeClock(), credit=CREDIT)
        return ServiceParts(
            name="reporting",
            access=FakeAccess().control,
            mesh=[lambda server: agent_pb2_grpc.add_EventStreamServiceServicer_to_server(servicer, server)],
            workers=[self.writer.worker()],
            on_drain=[self.streams.drain],
            close=self.writer.close,
        )

    @asynccontextmanager
    async def stream(self, device_id: str = "d1") -> AsyncIterator[DeviceStream]:
        async with self.doors.mesh(device_identity(device_id)) as channel:
            yield DeviceStream(agent_pb2_grpc.EventStreamServiceStub(channel).StreamEvents())


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World()
    async with open_doors(tmp_path, made.parts()) as made.doors:
        yield made


async def test_the_device_is_greeted_with_its_credit_and_the_time(world: World) -> None:
    async with world.stream() as stream:
        welcome = await stream.hello("d1")
        assert welcome.credit == CREDIT
        assert welcome.server_time.ToDatetime(tzinfo=NOW.tzinfo) == NOW


async def test_what_is_acknowledged_is_stored(world: World) -> None:
    async with world.stream() as stream:
        await stream.hello()
        await stream.send([decided(1), decided(2)])
        ack = (await stream.read()).ack
        assert (ack.journal_id, ack.committed_through, list(ack.rejected)) == ("journal-1", 2, [])
        assert set(world.sink.events) == {uuid7(1), uuid7(2)}


async def test_a_batch_that_is_sent_again_is_acknowledged_again_and_stored_once(world: World) -> None:
    for _ in range(2):
        async with world.stream() as stream:
            await stream.hello()
            await stream.send([decided(1)])
            assert (await stream.read()).ack.committed_through == 1
    assert len(world.sink.events) == 1


async def test_an_event_that_can_never_be_stored_counts_as_committed(world: World) -> None:
    async with world.stream() as stream:
        await stream.hello()
        await stream.send([decided(1), decided(2, justification="x" * 257), decided(3)])
        ack = (await stream.read()).ack
        assert ack.committed_through == 3
        assert [(one.seq, one.reason) for one in ack.rejected] == [
            (2, "justification must have at most 256 characters")
        ]


async def test_a_batch_that_is_too_large_is_refused_and_says_why(world: World) -> None:
    async with world.stream() as stream:
        await stream.hello()
        await stream.send([decided(1, justification="x" * MESSAGE_LIMIT)])
        code, text = await stream.failure()
    assert (code, text[:20], world.sink.events) == ("RESOURCE_EXHAUSTED", "the message has 4194", {})


async def test_the_last_batches_are_acknowledged_before_the_stream_ends(world: World) -> None:
    async with world.stream() as stream:
        await stream.hello()
        await stream.send([decided(1)])
        await stream.send([decided(2)], first=2)
        await stream.call.done_writing()
        through = 0
        while through < 2:
            through = (await stream.read()).ack.committed_through
        assert (await stream.failure())[0] == "OK"


async def test_a_stream_without_hello_is_refused(world: World) -> None:
    async with world.stream() as stream:
        await stream.send([decided(1)])
        assert await stream.failure() == ("INVALID_ARGUMENT", "hello: must be the first message of the stream")
    assert world.sink.events == {}


async def test_a_device_that_names_another_is_refused(world: World) -> None:
    async with world.stream("d1") as stream:
        with suppress(grpc.aio.AioRpcError, EOFError):
            await stream.hello("d2")
        assert (await stream.failure())[0] == "PERMISSION_DENIED"


async def test_a_retired_device_is_refused(world: World) -> None:
    async with world.stream("gone") as stream:
        assert (await stream.failure())[0] == "PERMISSION_DENIED"


async def test_a_device_that_the_directory_does_not_show_yet_is_asked_to_come_back(world: World) -> None:
    async with world.stream("new") as stream:
        assert (await stream.failure())[0] == "UNAVAILABLE"


async def test_a_service_is_not_a_device(world: World) -> None:
    async with world.doors.mesh(service_identity("policy")) as channel:
        stream = DeviceStream(agent_pb2_grpc.EventStreamServiceStub(channel).StreamEvents())
        assert (await stream.failure())[0] == "PERMISSION_DENIED"


async def test_more_events_than_the_credit_are_refused(world: World) -> None:
    async with world.stream() as stream:
        await stream.hello()
        await stream.send([decided(number) for number in range(1, CREDIT + 2)])
        assert await stream.failure() == (
            "INVALID_ARGUMENT",
            f"batch.entries: must leave at most {CREDIT} events in flight; wait for the ack",
        )
    assert world.sink.events == {}


async def test_a_credit_that_is_used_is_raised_behind_the_acknowledgement(world: World) -> None:
    async with world.stream() as stream:
        await stream.hello()
        await stream.send([decided(number) for number in range(1, CREDIT + 1)])
        assert (await stream.read()).ack.committed_through == CREDIT
        assert (await stream.read()).credit.credit == 2 * CREDIT
        await stream.send([decided(number) for number in range(11, 11 + 2 * CREDIT)], first=11)
        await stream.acknowledged(10 + 2 * CREDIT)


async def test_a_second_hello_is_refused(world: World) -> None:
    async with world.stream() as stream:
        await stream.hello()
        await stream.call.write(agent_pb2.StreamEventsRequest(hello=agent_pb2.EventsHello()))
        assert (await stream.failure())[0] == "INVALID_ARGUMENT"


async def test_a_message_over_the_limit_ends_the_stream_and_stores_nothing(world: World) -> None:
    async with world.stream() as stream:
        await stream.hello()
        await stream.send([decided(1, reason="x" * 5 * 1024 * 1024)])
        assert (await stream.failure())[0] == "RESOURCE_EXHAUSTED"
    assert world.sink.events == {}


async def test_nothing_is_acknowledged_while_events_cannot_be_stored(world: World) -> None:
    world.sink.fail()
    async with world.stream() as stream:
        await stream.hello()
        await stream.send([decided(1)])
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await stream.read()
        assert failed.value.code() is grpc.StatusCode.UNAVAILABLE
    world.sink.failure = None
    async with world.stream() as stream:
        await stream.hello()
        await stream.send([decided(1)])
        assert (await stream.read()).ack.committed_through == 1


async def test_the_newest_stream_of_a_device_wins(world: World) -> None:
    async with world.stream() as older, world.stream() as newer:
        await older.hello()
        await newer.hello()
        assert (await older.read()).go_away.reason == "SUPERSEDED"
        await newer.send([decided(1)])
        assert (await newer.read()).ack.committed_through == 1


@pytest.mark.parametrize(
    ("gone", "why"),
    [
        (Device("d1", "d1", enrolled=False), "the device is retired; enrol it again with a new token"),
        (Device("d1", "d1", enrolled=False, banned=True), "the device is banned; ask for its ban to be lifted"),
        (Device("d1", "d1", enrolled=False, deleted=True), "the device was deleted; enrol it again"),
    ],
)
async def test_a_device_that_loses_its_credentials_loses_its_stream_at_once_and_hears_why(
    world: World, gone: Device, why: str
) -> None:
    async with world.stream() as stream:
        await stream.hello()
        await stream.send([decided(1)])
        await stream.acknowledged(1)
        world.streams.follow(gone)
        assert await stream.failure() == ("PERMISSION_DENIED", why)


async def test_a_stream_ends_at_once_when_its_certificate_was_replaced(world: World) -> None:
    async with world.stream() as stream:
        await stream.hello()
        await stream.send([decided(1)])
        await stream.acknowledged(1)
        renewed = replace(world.directory.devices["d1"], certificate_serials=frozenset({"another"}))
        world.streams.follow(renewed)
        assert await stream.failure() == (
            "PERMISSION_DENIED",
            "this certificate was replaced by another of the device; use that one, or enrol again with a token for the device",
        )


async def test_a_device_that_is_retired_before_it_says_hello_is_refused(world: World) -> None:
    async with world.stream() as stream:
        await world.asked.wait()
        world.directory.devices["d1"] = Device("d1", "d1", enrolled=False)
        with suppress(grpc.aio.AioRpcError, EOFError, asyncio.InvalidStateError):
            await stream.hello()
            await stream.call.done_writing()
        assert (await stream.failure())[0] == "PERMISSION_DENIED"


async def test_events_carry_the_name_that_the_device_has_when_they_come(world: World) -> None:
    async with world.stream() as stream:
        await stream.hello()
        await stream.send([decided(1)])
        await stream.acknowledged(1)
        world.streams.follow(Device("d1", "renamed", enrolled=True))
        await stream.send([decided(2)], first=2)
        await stream.acknowledged(2)
    assert world.sink.device_names == ["name-of-d1", "renamed"]


async def test_bytes_that_are_no_message_end_the_stream_and_store_nothing(world: World) -> None:
    async with world.doors.mesh(device_identity("d1")) as channel:
        call: grpc.aio.StreamStreamCall[bytes, bytes] = channel.stream_stream(
            "/epm.reporting.v1.EventStreamService/StreamEvents"
        )()
        await call.write(agent_pb2.StreamEventsRequest(hello=agent_pb2.EventsHello()).SerializeToString())
        await call.read()
        await call.write(b"\xff\xff\xff")
        assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert world.sink.events == {}


async def test_a_farewell_waits_for_an_acknowledgement_that_is_being_written(world: World) -> None:
    said: list[str | None] = []
    writing, written = asyncio.Event(), asyncio.Event()

    async def batches() -> AsyncIterator[agent_pb2.StreamEventsRequest]:
        yield agent_pb2.StreamEventsRequest(batch=message([decided(1)]))
        await asyncio.Event().wait()

    async def send(response: agent_pb2.StreamEventsResponse) -> None:
        writing.set()
        await written.wait()
        said.append(response.WhichOneof("message"))

    stream = EventStream(enrolled("d1"), writer=world.writer, clock=FakeClock())
    running = asyncio.create_task(stream.run(batches(), send))
    await writing.wait()
    stream.close("DRAINING")
    for _ in range(5):
        await asyncio.sleep(0)
    written.set()
    await running
    assert said == ["ack", "go_away"]


async def test_a_device_that_reads_nothing_is_sent_away_all_the_same(world: World) -> None:
    async def silence() -> AsyncIterator[agent_pb2.StreamEventsRequest]:
        await asyncio.Event().wait()
        yield agent_pb2.StreamEventsRequest()

    async def nobody_reads(_: agent_pb2.StreamEventsResponse) -> None:
        await asyncio.Event().wait()

    stream = EventStream(enrolled("d1"), writer=world.writer, clock=FakeClock())
    stream.close("SUPERSEDED", patience=0.05)
    await asyncio.wait_for(stream.run(silence(), nobody_reads), timeout=5)


async def test_a_device_holds_few_streams_on_which_it_says_nothing(world: World) -> None:
    async with AsyncExitStack() as silent:
        for _ in range(GREETED_OF_ONE):
            world.asked.clear()
            await silent.enter_async_context(world.stream())
            await world.asked.wait()
        async with world.stream() as stream, world.stream("d2") as other:
            assert (await stream.failure())[0] == "RESOURCE_EXHAUSTED"
            assert (await other.hello()).credit == CREDIT


async def test_a_stream_that_opens_while_the_process_ends_is_sent_away_too(world: World) -> None:
    said: list[agent_pb2.StreamEventsResponse] = []

    async def silence() -> AsyncIterator[agent_pb2.StreamEventsRequest]:
        await asyncio.Event().wait()
        yield agent_pb2.StreamEventsRequest()

    async def send(response: agent_pb2.StreamEventsResponse) -> None:
        said.append(response)

    stream = EventStream(enrolled("d1"), writer=world.writer, clock=FakeClock())
    await world.streams.drain()
    with world.streams.entered(stream):
        await asyncio.wait_for(stream.run(silence(), send), timeout=5)
    assert [one.go_away.reason for one in said] == ["DRAINING"]


async def test_a_process_that_ends_sends_its_streams_away(tmp_path: Path) -> None:
    world = World()
    grace = timedelta(seconds=5)
    async with open_doors(tmp_path, world.parts(), drain_grace=grace) as world.doors, world.stream() as stream:
        await stream.hello()
        await world.streams.drain()
        assert (await stream.read()).go_away.reason == "DRAINING"


async def test_a_device_that_never_says_hello_holds_no_stream() -> None:
    async def silence() -> AsyncIterator[agent_pb2.StreamEventsRequest]:
        await asyncio.Event().wait()
        yield agent_pb2.StreamEventsRequest()

    async def send(_: agent_pb2.StreamEventsResponse) -> None:
        pytest.fail("nothing is to be said")

    stream = EventStream(enrolled("d1"), writer=GroupCommitWriter(FakeSink()), clock=FakeClock())
    with pytest.raises(InvalidError, match="must be the first message"):
        await stream.greet(silence(), send, patience=0)
