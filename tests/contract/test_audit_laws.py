"""The law of the audit chain: whatever is done to the records behind a checkpoint is found, and where it was done.

Each example is a copy of one SQLite file, changed as somebody would change it who has the disk.
"""

import asyncio
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from auditchain.checkpoint import Checkpoint
from auditchain.record import AuditRecord, genesis, link
from auditchain.verification import Fault, Verdict
from services._chassis.audit_checkpoints import CheckpointFile
from services._chassis.audit_store import row_of
from tests.builders.audit import demo_service, verdict_of

COUNT = 9
Result = TypeVar("Result")
TEXTS = ("actor", "source", "action", "target_kind", "target", "before", "after", "reason", "request_id", "decision_id")
COLUMNS = ("sequence", "recorded", *TEXTS, "details", "revision", "hash")
law = settings(max_examples=20, phases=[Phase.explicit, Phase.generate])
"""Each example copies a database and starts a service on it; what fails is small already."""

sequences = st.integers(1, COUNT)
values = st.one_of(
    st.none(),
    st.integers(-(2**62), 2**62),
    st.text(st.characters(codec="utf-8"), max_size=20),
    st.binary(max_size=40),
    st.floats(allow_nan=False),
)


@cache
def original() -> Path:
    """Make a log that was sealed after every third record, once a run."""
    folder = Path(tempfile.mkdtemp(prefix="openepm-audit-"))

    async def fill() -> None:
        async with demo_service(f"sqlite:///{folder / 'demo.db'}", folder) as service:
            for number in range(0, COUNT, 3):
                await service.write(f"a{number}", f"b{number}", f"c{number}")
                await service.log.seal()

    run(fill())
    return folder


def changed(change: Callable[[sqlite3.Connection], None]) -> Verdict:
    """Verify a copy of the log after somebody changed the file, with a fresh service on it."""
    with tempfile.TemporaryDirectory(prefix="openepm-audit-") as name:
        folder = Path(name) / "copy"
        shutil.copytree(original(), folder)
        with closing(sqlite3.connect(folder / "demo.db")) as connection:
            connection.execute("PRAGMA ignore_check_constraints = ON")
            change(connection)
            connection.commit()
        return run(verified(folder))


async def verified(folder: Path) -> Verdict:
    async with demo_service(f"sqlite:///{folder / 'demo.db'}", folder) as service:
        return verdict_of(await service.export())


def places(verdict: Verdict) -> set[int]:
    """Return the records that a verdict names."""
    return {number for each in verdict.findings for number in range(each.first, each.last + 1)}


def test_a_log_that_nobody_touched_is_whole() -> None:
    verdict = changed(lambda _: None)
    assert (verdict.whole, verdict.records, verdict.covered_through) == (True, COUNT, COUNT)


@settings(law, max_examples=40)
@given(sequences, st.sampled_from(COLUMNS), values)
def test_an_edit_of_any_column_is_found_and_located(sequence: int, column: str, value: Any) -> None:
    before: list[Any] = []
    after: list[Any] = []

    def edit(connection: sqlite3.Connection) -> None:
        shown = f"SELECT typeof({column}), {column} FROM demo_audit WHERE sequence = ?"  # noqa: S608 - a name of ours
        before.extend(connection.execute(shown, (sequence,)).fetchone())
        try:
            connection.execute(f"UPDATE demo_audit SET {column} = ? WHERE sequence = ?", (value, sequence))  # noqa: S608
        except sqlite3.IntegrityError:  # the table takes no such value
            after.extend(before)
            return
        moved = value if column == "sequence" else sequence
        after.extend(connection.execute(shown, (moved,)).fetchone())

    verdict = changed(edit)
    assert verdict.whole == (before == after)
    assert before == after or sequence in places(verdict)


@law
@given(sequences, st.sampled_from(TEXTS), st.sampled_from([" ", "\n", "\u200b", "0"]))
def test_a_single_character_more_is_found(sequence: int, column: str, extra: str) -> None:
    statement = f"UPDATE demo_audit SET {column} = {column} || ? WHERE sequence = ?"  # noqa: S608
    verdict = changed(lambda connection: void(connection.execute(statement, (extra, sequence))))
    assert [(each.fault, each.first, each.last) for each in verdict.findings] == [(Fault.ALTERED, sequence, sequence)]


@law
@given(sequences, sequences)
def test_a_deletion_is_found_and_located(first: int, last: int) -> None:
    first, last = sorted((first, last))
    statement = "DELETE FROM demo_audit WHERE sequence BETWEEN ? AND ?"
    verdict = changed(lambda connection: void(connection.execute(statement, (first, last))))
    assert [(each.fault, each.first, each.last) for each in verdict.findings] == [(Fault.MISSING, first, last)]


@law
@given(st.lists(sequences, min_size=2, max_size=2, unique=True))
def test_two_records_that_changed_places_are_found(pair: list[int]) -> None:
    one, other = pair

    def swap(connection: sqlite3.Connection) -> None:
        for old, new in ((one, -1), (other, one), (-1, other)):
            connection.execute("UPDATE demo_audit SET sequence = ? WHERE sequence = ?", (new, old))

    assert set(pair) <= places(changed(swap))


@law
@given(st.integers(-5, COUNT + 20))
def test_a_record_that_was_put_there_is_found(sequence: int) -> None:
    def insert(connection: sqlite3.Connection) -> None:
        connection.execute("UPDATE demo_audit SET sequence = sequence + 1000 WHERE sequence >= ?", (sequence,))
        connection.execute("UPDATE demo_audit SET sequence = sequence - 999 WHERE sequence >= 1000")
        columns = ", ".join(COLUMNS[1:])
        copied = f"SELECT ?, {columns} FROM demo_audit WHERE sequence NOT IN (?) LIMIT 1"  # noqa: S608
        connection.execute(f"INSERT INTO demo_audit (sequence, {columns}) {copied}", (sequence, sequence))

    verdict = changed(insert)
    assert not verdict.whole
    assert places(verdict) & {max(sequence, 0), sequence + 1, *range(COUNT + 1, sequence + 1)}


@law
@given(st.integers(0, COUNT - 1), st.booleans())
def test_the_newest_records_cannot_be_cut_off_together_with_their_checkpoints(kept: int, mended: bool) -> None:  # noqa: FBT001
    def truncate(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM demo_audit WHERE sequence > ?", (kept,))
        connection.execute("DELETE FROM demo_audit_checkpoint WHERE sequence > ?", (kept,))
        if mended:
            newest = connection.execute("SELECT hash FROM demo_audit WHERE sequence = ?", (kept,)).fetchone()
            head = (kept, newest[0] if newest else genesis("demo"))
            connection.execute("UPDATE demo_audit_head SET sequence = ?, hash = ?", head)

    verdict = changed(truncate)  # the file beside the database remembers
    assert (Fault.MISSING, kept + 1, COUNT) in {(each.fault, each.first, each.last) for each in verdict.findings}


@law
@given(sequences, st.booleans())
def test_a_chain_that_was_made_anew_from_an_edit_on_is_found(sequence: int, forgetful: bool) -> None:  # noqa: FBT001
    def rewrite(connection: sqlite3.Connection) -> None:
        records = run(records_of())
        previous = genesis("demo")
        for record in records:
            edited = replace(record, actor="user:nobody") if record.sequence == sequence else record
            made = replace(edited, hash=link(previous, edited))
            previous = made.hash
            connection.execute(
                "UPDATE demo_audit SET actor = :actor, hash = :hash WHERE sequence = :sequence", row_of(made)
            )
        connection.execute("UPDATE demo_audit_head SET hash = ?", (previous,))
        if forgetful:
            connection.execute("DELETE FROM demo_audit_checkpoint")

    verdict = changed(rewrite)
    checkpoint = -(-sequence // 3) * 3
    assert [(each.fault, each.first, each.last) for each in verdict.findings] == [
        (Fault.REWRITTEN, checkpoint - 2, COUNT)
    ]


@law
@given(st.sampled_from(["sequence", "hash", "signed", "pruned_through", "anchor_hash", "key_id", "signature"]), values)
def test_an_edit_of_a_checkpoint_is_found(column: str, value: Any) -> None:
    before: list[Any] = []

    def edit(connection: sqlite3.Connection) -> None:
        before.extend(connection.execute("SELECT * FROM demo_audit_checkpoint ORDER BY id").fetchall())
        try:
            connection.execute(f"UPDATE demo_audit_checkpoint SET {column} = ? WHERE sequence = 6", (value,))  # noqa: S608
        except sqlite3.IntegrityError:
            return
        if connection.execute("SELECT * FROM demo_audit_checkpoint ORDER BY id").fetchall() != before:
            before.clear()

    assert changed(edit).whole == bool(before)


async def records_of() -> list[AuditRecord]:
    async with demo_service(f"sqlite:///{original() / 'demo.db'}", original()) as service:
        return await service.records()


def test_a_checkpoint_that_was_kept_elsewhere_finds_what_the_whole_folder_forgot() -> None:
    file = CheckpointFile(original() / "audit", "demo")
    elsewhere = list(file.checkpoints(file.size()))

    async def forget(folder: Path) -> Verdict:
        (folder / "demo.db").unlink()
        shutil.rmtree(folder / "audit")
        async with demo_service(f"sqlite:///{folder / 'demo.db'}", folder) as service:
            await service.write("nothing", "happened")
            return await service.verdict(*elsewhere)

    with tempfile.TemporaryDirectory(prefix="openepm-audit-") as name:
        shutil.copytree(original(), Path(name) / "copy")
        verdict = run(forget(Path(name) / "copy"))
    assert [(each.fault, each.first, each.last) for each in verdict.findings] == [(Fault.MISSING, 3, COUNT)]


@pytest.mark.parametrize("key", ["", "0123456789abcdef"])
def test_a_checkpoint_of_another_key_is_nobodys(key: str) -> None:
    forged = Checkpoint(sequence=COUNT, hash=bytes(32), signed=0, key_id=key, signature=bytes(64))

    async def verify() -> Verdict:
        async with demo_service(f"sqlite:///{original() / 'demo.db'}", original()) as service:
            return await service.verdict(forged)

    verdict = run(verify())
    assert [(each.fault, each.first) for each in verdict.findings] == [(Fault.CHECKPOINT, COUNT)]


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine in a thread of its own, beside whatever loop the tests around this one have."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


def void(_value: object) -> None:
    """Give nothing."""
