"""How journals go up: attempts first, never more than the credit, forgotten only when committed."""

import asyncio
from pathlib import Path

import pytest

from agent_stub.events.records import Diagnostic
from agent_stub.links import SessionError
from epm.reporting.v1 import agent_pb2 as reporting_pb2
from tests.unit.agent.test_streams import PATIENCE, Device, damage, device, session

__all__ = ["device"]
"""The fixture that the tests below ask for."""


async def test_events_go_up_and_are_forgotten_only_when_committed(device: Device) -> None:
    device.servers.events.commits = False
    device.spool.diagnose(Diagnostic("ONE", "one"))
    async with session(asyncio.create_task(device.uploader().session(device.link))):
        assert [entry.seq for entry in (await device.batch()).entries] == [1]
        assert len(device.spool.journals[1]) == 1
    device.servers.events.commits = True
    async with session(asyncio.create_task(device.uploader().session(device.link))):
        assert [entry.seq for entry in (await device.batch()).entries] == [1]
        device.spool.diagnose(Diagnostic("TWO", "two"))
        assert [entry.seq for entry in (await device.batch()).entries] == [2]
        device.servers.events.goodbye = "DRAINING"
        device.spool.diagnose(Diagnostic("THREE", "three"))
        await device.batch()
    assert [entry.seq for entry in device.spool.journals[1].entries(0, 9, 1 << 20)] == [3]


async def test_no_more_is_in_flight_than_the_credit(device: Device) -> None:
    device.servers.events.commits = False
    device.servers.events.credit = 2
    for name in ("ONE", "TWO", "THREE"):
        device.spool.diagnose(Diagnostic(name, name))
    async with session(asyncio.create_task(device.uploader().session(device.link))):
        assert len((await device.batch()).entries) == 2
        assert device.servers.events.batches.empty()


async def test_a_raised_credit_lets_more_go_up_at_once(device: Device) -> None:
    device.servers.events.commits = False
    device.servers.events.credit = 1
    device.servers.events.credits.put_nowait(3)
    for number in range(1, 5):
        device.spool.completed(f"attempt-{number}", 0)
    async with session(asyncio.create_task(device.uploader().session(device.link))):
        assert [entry.seq for entry in (await device.batch()).entries] == [1]
        assert [entry.seq for entry in (await device.batch()).entries] == [2, 3]
        assert device.servers.events.batches.empty()


async def test_a_lowered_credit_holds_until_enough_is_acknowledged(device: Device) -> None:
    device.servers.events.credit = 4
    device.servers.events.credits.put_nowait(1)
    for number in range(1, 7):
        device.spool.completed(f"attempt-{number}", 0)
    async with session(asyncio.create_task(device.uploader().session(device.link))):
        sizes = [len((await device.batch()).entries) for _ in range(3)]
    assert sizes == [4, 1, 1]


async def test_attempts_go_up_first_and_the_clients_health_last(device: Device) -> None:
    device.servers.events.credit = 2
    device.spool.diagnose(Diagnostic("ONE", "one"))
    for number in range(1, 5):
        device.spool.completed(f"attempt-{number}", 0)
    async with session(asyncio.create_task(device.uploader().session(device.link))):
        batches = [await device.batch() for _ in range(3)]
    security, diagnostic = reporting_pb2.EVENT_PRIORITY_SECURITY, reporting_pb2.EVENT_PRIORITY_DIAGNOSTIC
    assert [(batch.priority, len(batch.entries)) for batch in batches] == [
        (security, 2),
        (security, 2),
        (diagnostic, 1),
    ]


async def test_a_part_of_the_credit_is_not_the_clients_healths(device: Device) -> None:
    device.servers.events.commits = False
    device.servers.events.credit = 4
    for name in ("ONE", "TWO", "THREE", "FOUR"):
        device.spool.diagnose(Diagnostic(name, name))
    async with session(asyncio.create_task(device.uploader().session(device.link))):
        assert len((await device.batch()).entries) == 3
        device.spool.completed("attempt", 0)
        assert (await device.batch()).entries[0].event.WhichOneof("body") == "completed"


async def test_a_rejected_event_counts_as_committed_and_blocks_nothing(device: Device) -> None:
    device.servers.events.rejects = {1}
    device.spool.diagnose(Diagnostic("ONE", "one"))
    async with session(asyncio.create_task(device.uploader().session(device.link))):
        await device.batch()
        device.spool.diagnose(Diagnostic("TWO", "two"))
        assert [entry.seq for entry in (await device.batch()).entries] == [2]


async def test_a_journal_that_was_damaged_meanwhile_loses_one_event_and_says_so(device: Device, tmp_path: Path) -> None:
    for name in ("ONE", "TWO"):
        device.spool.diagnose(Diagnostic(name, name))
    damage(tmp_path / "diagnostic.journal", b"ONE", b"XXX")
    with pytest.raises(SessionError, match=r"diagnostic\.journal was damaged and has begun anew"):
        await asyncio.wait_for(device.uploader().session(device.link), PATIENCE)
    async with session(asyncio.create_task(device.uploader().session(device.link))):
        codes = [entry.event.diagnostic.code for entry in (await device.batch()).entries]
    assert codes == ["TWO", "EVENTS_LOST"]


async def test_a_drained_event_stream_comes_back_soon(device: Device) -> None:
    device.servers.events.goodbye = "DRAINING"
    device.spool.diagnose(Diagnostic("ONE", "one"))
    end = await asyncio.wait_for(device.uploader().session(device.link), PATIENCE)
    assert end.reason == "DRAINING"
    assert end.come_back_within is not None
