"""Devices that report, and the ports of reporting without a database."""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import grpc.aio

from epm.elevation.v1 import event_pb2, rules_pb2
from epm.reporting.v1 import agent_pb2
from services._chassis.errors import UnavailableError
from services.reporting.codec.incoming import batch_from_proto
from services.reporting.model.devices import Device
from services.reporting.model.events import Batch, Rejection, microseconds
from tests.fakes.clock import NOW

SHA256 = "ab" * 32


def uuid7(number: int) -> str:
    """Return the UUIDv7 of a number."""
    return f"01930000-0000-7000-8000-{number:012x}"


def decided(number: int, *, at: datetime = NOW, attempt: str = "", **values: Any) -> event_pb2.ElevationEvent:
    """Return a DECIDED event: alice elevates a setup file under a rule, but for what the test says."""
    file = {"path": "C:\\Setup\\setup.exe", "sha256": SHA256, "version": "1.2", "company_name": "Example"}
    file |= values.pop("file", {})
    chosen: dict[str, Any] = {
        "user": "alice",
        "trigger": event_pb2.TRIGGER_REQUEST,
        "platform": rules_pb2.PLATFORM_WINDOWS,
        "outcome": event_pb2.OUTCOME_ELEVATE,
        "source": event_pb2.SOURCE_RULE,
        "managed": True,
        "elevation_type": rules_pb2.ELEVATION_TYPE_AUTOMATIC,
        "policy": "tools",
        "rule": "setup",
        "result": event_pb2.ATTEMPT_RESULT_ELEVATED,
    }
    event = event_pb2.ElevationEvent(
        event_id=uuid7(number),
        attempt_id=attempt or f"attempt-{number}",
        decided=event_pb2.Decided(file=event_pb2.FileFacts(**file), **{**chosen, **values}),
    )
    event.occurred.FromDatetime(at)
    return event


def unmanaged(number: int, **values: Any) -> event_pb2.ElevationEvent:
    """Return a DECIDED event of an administrator's own elevation."""
    left_alone = {
        "outcome": event_pb2.OUTCOME_NOT_MANAGED,
        "source": event_pb2.SOURCE_ADMINISTRATOR,
        "managed": False,
        "administrator": True,
        "elevation_type": rules_pb2.ELEVATION_TYPE_UNSPECIFIED,
        "policy": "",
        "rule": "",
        "result": event_pb2.ATTEMPT_RESULT_NOT_MANAGED,
    }
    return decided(number, **{**left_alone, **values})


def completed(number: int, attempt: str, *, exit_code: int = 0, at: datetime = NOW) -> event_pb2.ElevationEvent:
    """Return a COMPLETED event."""
    event = event_pb2.ElevationEvent(event_id=uuid7(number), attempt_id=attempt)
    event.completed.exit_code = exit_code
    event.occurred.FromDatetime(at)
    return event


def diagnostic(number: int, code: str = "EVENTS_LOST", **values: Any) -> event_pb2.ElevationEvent:
    """Return a DIAGNOSTIC event."""
    event = event_pb2.ElevationEvent(event_id=uuid7(number), diagnostic=event_pb2.Diagnostic(code=code, **values))
    event.occurred.FromDatetime(NOW)
    return event


def message(
    events: Iterable[event_pb2.ElevationEvent], *, journal: str = "journal-1", first: int = 1
) -> agent_pb2.EventBatch:
    """Return the events as a device sends them, numbered from `first`."""
    entries = [agent_pb2.JournalEntry(seq=first + index, event=event) for index, event in enumerate(events)]
    return agent_pb2.EventBatch(journal_id=journal, entries=entries)


def batch(
    events: Iterable[event_pb2.ElevationEvent],
    *,
    device: str = "d1",
    name: str = "",
    journal: str = "journal-1",
    first: int = 1,
    received: datetime = NOW + timedelta(seconds=1),
) -> Batch:
    """Return the events as they reach the store."""
    return batch_from_proto(
        message(events, journal=journal, first=first),
        device_id=device,
        device_name=name or f"name-of-{device}",
        received=microseconds(received),
    )


def enrolled(device_id: str, *tags: str) -> Device:
    """Return an enrolled device."""
    name = f"name-of-{device_id}"
    return Device(device_id, name, enrolled=True, scope_tags=frozenset(tags), attributes={"name": name})


class DeviceStream:
    """The device's end of an event stream."""

    def __init__(
        self, call: "grpc.aio.StreamStreamCall[agent_pb2.StreamEventsRequest, agent_pb2.StreamEventsResponse]"
    ) -> None:
        self.call = call

    async def hello(self, device_id: str = "") -> agent_pb2.EventsWelcome:
        """Introduce the device, and return how it is greeted."""
        hello = agent_pb2.EventsHello(device_id=device_id, agent_version="0.1.0")
        with suppress(asyncio.InvalidStateError):
            await self.call.write(agent_pb2.StreamEventsRequest(hello=hello))
        return (await self.read()).welcome

    async def send(self, events: Iterable[event_pb2.ElevationEvent], *, first: int = 1) -> None:
        """Send a batch. A stream that is over swallows it: why it ended is told by `failure`."""
        with suppress(asyncio.InvalidStateError):
            await self.call.write(agent_pb2.StreamEventsRequest(batch=message(events, first=first)))

    async def health(self, events: Iterable[event_pb2.ElevationEvent], *, first: int = 1) -> None:
        """Send a batch of the journal of the client's own health."""
        batch = message(events, journal="health-1", first=first)
        batch.priority = agent_pb2.EVENT_PRIORITY_DIAGNOSTIC
        await self.call.write(agent_pb2.StreamEventsRequest(batch=batch))

    async def read(self) -> agent_pb2.StreamEventsResponse:
        """Return what the server says next. Raises EOFError at the end of the stream."""
        response = await self.call.read()
        if response is grpc.aio.EOF:
            code = await self.call.code()
            raise EOFError(code.name)
        assert isinstance(response, agent_pb2.StreamEventsResponse)
        return response

    async def acknowledged(self, through: int) -> None:
        """Return once the server has acknowledged so far."""
        while (await self.read()).ack.committed_through < through:
            pass

    async def failure(self) -> tuple[str, str]:
        """Return the status with which the stream ends, and its message."""
        with suppress(grpc.aio.AioRpcError, EOFError):
            while True:
                await self.read()
        return (await self.call.code()).name, await self.call.details() or ""


@dataclass
class FakeSink:
    """Keep events in memory by the law of the store: each once, by id and by its kind's place."""

    events: dict[str, tuple[type, str, str, int]] = field(default_factory=dict)
    dead_letters: list[tuple[str, Rejection]] = field(default_factory=list)
    groups: list[int] = field(default_factory=list)
    device_names: list[str] = field(default_factory=list)
    failure: Exception | None = None

    async def store(self, batches: Sequence[Batch]) -> Sequence[tuple[Rejection, ...]]:
        """Store the batches, or fail as the test says."""
        if self.failure is not None:
            raise self.failure
        self.groups.append(len(batches))
        self.device_names += [batch.device_name for batch in batches]
        return [self._store(batch) for batch in batches]

    def fail(self) -> None:
        """Store nothing from now on."""
        self.failure = UnavailableError(
            "events cannot be stored now; send them again later", reason="STORE_UNAVAILABLE"
        )

    def _store(self, batch: Batch) -> tuple[Rejection, ...]:
        rejected = [Rejection(letter.seq, letter.reason) for letter in batch.dead_letters]
        for records in (batch.attempts, batch.completions, batch.diagnostics):
            for record in records:
                place = (type(record), batch.device_id, batch.journal_id, record[0])
                owner = self.events.get(record[1])
                if owner is None and place not in self.events.values():
                    self.events[record[1]] = place
                elif owner is None:
                    rejected.append(Rejection(record[0], "another event has this place in the journal"))
                elif owner[1] != batch.device_id:
                    rejected.append(Rejection(record[0], "another event has this id"))
        self.dead_letters += [(batch.device_id, one) for one in rejected]
        return (*rejected, *batch.passed_over)


class FakeDeviceRecords:
    """Remember devices in memory."""

    def __init__(self) -> None:
        self.devices: dict[str, Device] = {}

    async def remember(self, devices: Sequence[Device]) -> None:
        """Keep the devices as they are now."""
        self.devices.update((device.device_id, device) for device in devices)
