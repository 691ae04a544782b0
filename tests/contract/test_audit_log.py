"""The audit log of a service, on SQLite and on PostgreSQL: one chain, whoever writes to it, sealed by checkpoints."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from auditchain.checkpoint import Checkpoint
from auditchain.record import genesis, link
from auditchain.times import to_microseconds
from auditchain.verification import Fault
from services._chassis.audit import AuditEntry
from services._chassis.audit_checkpoints import CheckpointFile
from services._chassis.audit_log import SEAL_EVERY
from services._chassis.audit_reading import AuditFilter
from services._chassis.audit_store import checkpoints_of, head_of, record
from services._chassis.db import Transaction
from services._chassis.errors import UnavailableError
from services._chassis.paging import PageRequest
from tests.builders.audit import AUDIT, DemoService, demo_service
from tests.fakes.clock import NOW, FakeClock


async def test_every_record_follows_the_one_before_it(empty_database_url: str, tmp_path: Path) -> None:
    async with demo_service(empty_database_url, tmp_path) as service:
        await service.write("a", "b")
        await service.write("c")
        records = await service.records()
    previous = genesis("demo")
    for number, each in enumerate(records, 1):
        assert (each.sequence, each.hash) == (number, link(previous, each))
        previous = each.hash
    assert [each.target for each in records] == ["a", "b", "c"]
    assert records[0].after == '{"name":"a","ü":1.5}'
    assert records[0].before == ""
    assert {each.recorded for each in records} == {to_microseconds(NOW)}


async def test_writers_at_the_same_time_leave_one_chain_without_gaps(empty_database_url: str, tmp_path: Path) -> None:
    async with (
        demo_service(empty_database_url, tmp_path) as service,
        demo_service(empty_database_url, tmp_path) as replica,
    ):
        writes = [
            (service, replica)[number % 2].write(f"t{number}", f"u{number}", changing=number % 3 > 0)
            for number in range(40)
        ]
        await asyncio.gather(*writes, service.log.seal(), replica.log.seal())
        records = await service.records()
        assert [each.sequence for each in records] == list(range(1, 81))
        assert (await service.verdict()).whole


async def test_a_transaction_that_fails_leaves_no_gap(empty_database_url: str, tmp_path: Path) -> None:
    async with demo_service(empty_database_url, tmp_path) as service:
        await service.write("a")
        with pytest.raises(LookupError):
            async with service.database.transaction() as tx:
                await write_and_fail(tx)
        await service.write("b")
        assert [(each.sequence, each.target) for each in await service.records()] == [(1, "a"), (2, "b")]


async def write_and_fail(tx: Transaction) -> None:
    await record(tx, AUDIT, AuditEntry(action="thing_made", target_kind="Thing", target="lost"), now=NOW)
    raise LookupError


async def test_a_log_is_sealed_in_the_table_and_in_a_file_outside_of_the_database(
    empty_database_url: str, tmp_path: Path
) -> None:
    async with demo_service(empty_database_url, tmp_path) as service:
        await service.write("a")
        await service.log.seal()
        await service.log.seal()
        verdict, kept = await service.verdict(), await checkpoints(service)
    assert verdict.whole
    assert verdict.covered_through == 1
    assert [checkpoint.sequence for checkpoint in kept] == [1]
    file = CheckpointFile(tmp_path / "audit", "demo")
    assert list(file.checkpoints(file.size())) == kept
    assert file.path.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "keys" / "audit-demo.key").stat().st_mode & 0o777 == 0o600


async def test_the_worker_seals_whatever_is_new_within_a_second(empty_database_url: str, tmp_path: Path) -> None:
    async with demo_service(empty_database_url, tmp_path) as service:
        rounds = Rounds()
        (worker,) = service.log.workers(rounds.pause)
        task = asyncio.ensure_future(worker.run())
        assert await rounds.next() == SEAL_EVERY.total_seconds() <= 0.5
        await service.write("a")
        await rounds.next()
        assert [checkpoint.sequence for checkpoint in await checkpoints(service)] == [1]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class Rounds:
    """Let a worker do one round at a time."""

    def __init__(self) -> None:
        self._paused: asyncio.Queue[float] = asyncio.Queue()
        self._go = asyncio.Event()
        self._go.set()

    async def pause(self, seconds: float) -> None:
        self._go.clear()
        self._paused.put_nowait(seconds)
        await self._go.wait()

    async def next(self) -> float:
        """Let it do a round, and return how long it would pause after it."""
        self._go.set()
        return await self._paused.get()


async def test_ending_seals_what_is_left(empty_database_url: str, tmp_path: Path) -> None:
    async with demo_service(empty_database_url, tmp_path) as service:
        await service.write("a")
        await service.log.close()
        assert [checkpoint.sequence for checkpoint in await checkpoints(service)] == [1]


async def test_a_restart_goes_on_where_the_log_ended(empty_database_url: str, tmp_path: Path) -> None:
    async with demo_service(empty_database_url, tmp_path) as service:
        await service.write("a")
        await service.log.close()
    with capture_logs() as logs:
        async with demo_service(empty_database_url, tmp_path) as service:
            await service.write("b")
            verdict = await service.verdict()
    assert (verdict.whole, verdict.last) == (True, 2)
    assert broken(logs) == []


async def test_a_crash_between_commit_and_checkpoint_costs_nothing(empty_database_url: str, tmp_path: Path) -> None:
    async with demo_service(empty_database_url, tmp_path) as service:
        await service.write("a")
    with capture_logs() as logs:
        async with demo_service(empty_database_url, tmp_path) as service:
            assert (await service.verdict()).covered_through == 1
    assert broken(logs) == []


async def test_a_checkpoint_that_a_crash_kept_from_the_file_is_written_to_it_by_the_next_start(
    empty_database_url: str, tmp_path: Path
) -> None:
    path = tmp_path / "audit" / "demo.checkpoints"
    async with demo_service(empty_database_url, tmp_path) as service:
        await service.write("a")
        await service.log.seal()
    path.write_bytes(path.read_bytes()[:40])  # torn in the middle of the line
    async with demo_service(empty_database_url, tmp_path) as service:
        await service.log.seal()
        kept = await checkpoints(service)
    file = CheckpointFile(tmp_path / "audit", "demo")
    assert list(file.checkpoints(file.size())) == kept


async def test_a_file_that_cannot_be_written_gets_its_checkpoints_later(
    empty_database_url: str, tmp_path: Path
) -> None:
    folder = tmp_path / "audit"
    async with demo_service(empty_database_url, tmp_path) as service:
        (folder / "demo.checkpoints").unlink()
        folder.rename(tmp_path / "away")
        await service.write("a")
        with pytest.raises(UnavailableError, match="cannot be written"):
            await service.log.seal()
        folder.mkdir()
        await service.log.seal()
        file = CheckpointFile(folder, "demo")
        assert [each.sequence for each in file.checkpoints(file.size())] == [1]


async def test_a_database_that_forgot_what_the_file_knows_is_told_of_loudly_and_serves(
    empty_database_url: str, tmp_path: Path
) -> None:
    async with demo_service(empty_database_url, tmp_path) as service:
        await service.write("a", "b", "c")
        await service.log.seal()
        head, kept = head_of(AUDIT), checkpoints_of(AUDIT)
        async with service.database.transaction() as tx:
            await tx.execute(sa.delete(AUDIT).where(AUDIT.c.sequence > 1))
            await tx.execute(sa.delete(kept))
            rest = sa.select(AUDIT.c.hash).scalar_subquery()
            await tx.execute(sa.update(head).values(sequence=1, hash=rest))
    with capture_logs() as logs:
        async with demo_service(empty_database_url, tmp_path) as service:
            assert broken(logs) == ["record 3, which a checkpoint names, is missing"]
            verdict = await service.verdict()
            assert [(each.fault, each.first, each.last) for each in verdict.findings] == [(Fault.MISSING, 2, 3)]
            await service.write("forged", "too")
            verdict = await service.verdict()
    assert [(each.fault, each.first, each.last) for each in verdict.findings] == [(Fault.REWRITTEN, 2, 3)]


async def test_a_head_that_is_gone_is_put_where_the_log_ends(empty_database_url: str, tmp_path: Path) -> None:
    async with demo_service(empty_database_url, tmp_path) as service:
        await service.write("a", "b")
        await service.log.seal()
        async with service.database.transaction() as tx:
            await tx.execute(sa.delete(head_of(AUDIT)))
    with capture_logs() as logs:
        async with demo_service(empty_database_url, tmp_path) as service:
            await service.write("c")
            assert (await service.verdict()).whole
    assert broken(logs) == ["the head is not where the log ends, at record 2"]


async def test_a_key_that_was_lost_is_made_anew_and_old_checkpoints_still_verify(
    empty_database_url: str, tmp_path: Path
) -> None:
    async with demo_service(empty_database_url, tmp_path) as service:
        await service.write("a")
        await service.log.seal()
    (tmp_path / "keys" / "audit-demo.key").unlink()
    async with demo_service(empty_database_url, tmp_path) as service:
        await service.write("b")
        verdict = await service.verdict()
        keys = {checkpoint.key_id for checkpoint in await checkpoints(service)}
    assert verdict.whole
    assert len(keys) == 2


async def test_retention_deletes_what_is_old_and_the_rest_still_verifies(
    empty_database_url: str, tmp_path: Path
) -> None:
    clock = FakeClock()
    async with demo_service(empty_database_url, tmp_path, clock=clock, keep=timedelta(days=30)) as service:
        await service.write(*(f"old{number}" for number in range(700)))
        await service.log.seal()
        clock.advance(timedelta(days=20))
        await service.write("young")
        clock.advance(timedelta(days=10, microseconds=1))
        await prune(service)
        records = await service.records()
        verdict = await service.verdict()
    assert [each.target for each in records] == ["young", "demo", "demo"]
    assert records[1].details == {"first": "1", "last": "500", "older_than_days": "30"}
    assert (verdict.whole, verdict.first, verdict.last) == (True, 701, 703)


async def test_retention_goes_on_after_a_restart_and_finds_what_is_missing_behind_its_anchor(
    empty_database_url: str, tmp_path: Path
) -> None:
    clock = FakeClock()
    async with demo_service(empty_database_url, tmp_path, clock=clock, keep=timedelta(days=30)) as service:
        await service.write("old")
        clock.advance(timedelta(days=31))
        await service.write("a", "b", "c")
        await prune(service)
        clock.advance(timedelta(days=31))
    with capture_logs() as logs:
        async with demo_service(empty_database_url, tmp_path, clock=clock, keep=timedelta(days=30)) as service:
            await service.write("d")
            assert (await service.verdict()).whole
            async with service.database.transaction() as tx:
                await tx.execute(sa.delete(AUDIT).where(AUDIT.c.sequence == 2))
            verdict = await service.verdict()
    assert broken(logs) == []
    assert [(each.fault, each.first, each.last) for each in verdict.findings] == [(Fault.MISSING, 2, 2)]


async def test_retention_washes_no_traces_away(empty_database_url: str, tmp_path: Path) -> None:
    clock = FakeClock()
    async with demo_service(empty_database_url, tmp_path, clock=clock, keep=timedelta(days=30)) as service:
        await service.write("a", "b", "c")
        async with service.database.transaction() as tx:
            await tx.execute(sa.update(AUDIT).where(AUDIT.c.sequence == 2).values(actor="user:somebody-else"))
        clock.advance(timedelta(days=60))
        with capture_logs() as logs:
            await prune(service)
        verdict = await service.verdict()
    assert [entry["event"] for entry in logs] == ["audit_retention_stopped"]
    assert [(each.fault, each.first, each.last) for each in verdict.findings] == [(Fault.ALTERED, 2, 2)]


@pytest.mark.parametrize("keep", [None, timedelta(days=30)])
async def test_nobody_deletes_the_oldest_records_in_the_name_of_retention(
    empty_database_url: str, tmp_path: Path, keep: timedelta | None
) -> None:
    clock = FakeClock()
    async with demo_service(empty_database_url, tmp_path, clock=clock, keep=keep) as service:
        await service.write("a", "b", "c")
        await service.log.seal()
        anchor = (await service.records())[1].hash
        async with service.database.transaction() as tx:
            await tx.execute(sa.delete(AUDIT).where(AUDIT.c.sequence <= 2))
            await tx.execute(sa.update(head_of(AUDIT)).values(pruned_through=2, anchor_hash=anchor))
        clock.advance(timedelta(days=60))
        await service.write("d")
        if keep:
            await prune(service)
        running = await service.verdict()
    with capture_logs() as logs:
        async with demo_service(empty_database_url, tmp_path, clock=clock, keep=keep) as service:
            await service.write("e")
            restarted = await service.verdict()
    for verdict in (running, restarted):
        assert [(each.fault, each.first, each.last) for each in verdict.findings] == [(Fault.MISSING, 1, 2)]
    assert broken(logs) == ["no checkpoint says that retention deleted the records through 2"]


async def test_pages_show_the_newest_first_and_filters_narrow_them(empty_database_url: str, tmp_path: Path) -> None:
    clock = FakeClock()
    async with demo_service(empty_database_url, tmp_path, clock=clock) as service:
        await service.write("a", "b")
        clock.advance(timedelta(hours=1))
        await service.write("c", "a")
        reader = service.log.reader
        first = await reader.page(AuditFilter(), PageRequest(3))
        rest = await reader.page(AuditFilter(), PageRequest(3, (2,)))
        about = await reader.page(AuditFilter(target="a", actor="service:demo", action="thing_made"), PageRequest(9))
        later = to_microseconds(clock.now())
        new = await reader.page(AuditFilter(since=later), PageRequest(9))
        old = await reader.page(AuditFilter(until=later), PageRequest(9))
        nobody = await reader.page(AuditFilter(actor="user:nobody"), PageRequest(9))
    pages = (first, rest, about, new, old, nobody)
    assert [[each.sequence for each in page.items] for page in pages] == [
        [4, 3, 2],
        [1],
        [4, 1],
        [4, 3],
        [2, 1],
        [],
    ]
    assert [bool(page.next_token) for page in pages] == [True, False, False, False, False, False]


async def test_an_export_shows_the_log_as_it_was_when_it_began_and_ends(
    empty_database_url: str, tmp_path: Path
) -> None:
    async with demo_service(empty_database_url, tmp_path) as service:
        await service.write(*(f"t{number}" for number in range(450)))
        parts = []
        async for part in service.log.export(None):
            parts.append(part)
            if len(parts) % 100 == 0:
                await service.write("meanwhile")
                await service.log.seal()
    newest = max(part.sequence for part in parts if not isinstance(part, str))
    assert newest == 450
    assert isinstance(parts[0], str)
    assert [type(part).__name__ for part in parts[1:]] == ["AuditRecord"] * 450 + ["Checkpoint"]


async def test_an_export_says_that_retention_came_in_between(empty_database_url: str, tmp_path: Path) -> None:
    clock = FakeClock()
    async with demo_service(empty_database_url, tmp_path, clock=clock, keep=timedelta(days=30)) as service:
        await service.write("a")
        clock.advance(timedelta(days=31))
        with pytest.raises(UnavailableError, match="export again"):
            await export_while_retention_works(service)


async def export_while_retention_works(service: DemoService) -> None:
    async for part in service.log.export(None):
        if isinstance(part, Checkpoint):
            await prune(service)


async def prune(service: DemoService) -> None:
    """Let retention do one round."""
    rounds = Rounds()
    worker = service.log.workers(rounds.pause)[1]
    task = asyncio.ensure_future(worker.run())
    await rounds.next()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def checkpoints(service: DemoService) -> list[Checkpoint]:
    """Return the checkpoints of the table."""
    async with service.database.read() as tx:
        return [each for _, each in await service.log.reader.checkpoints(tx, after=0, size=1000)]


def broken(logs: list[Any]) -> list[str]:
    """Return what was said of broken chains."""
    return [entry["problem"] for entry in logs if entry["event"] == "audit_chain_broken"]
