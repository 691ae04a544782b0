"""Sign how far the audit log has come, and keep the checkpoints in a table and in a file outside the database."""

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric import ed25519

from auditchain.checkpoint import Checkpoint, Keys, is_signed, signed_by
from auditchain.lines import read_line, write_line
from auditchain.times import to_microseconds
from services._chassis.audit_reading import AuditReader
from services._chassis.audit_store import checkpoints_of, head_of, locked_head, service_of
from services._chassis.db import Database, Transaction
from services._chassis.errors import StateError, UnavailableError

TAIL = 64 * 1024
"""Bytes at the end of a file in which its newest checkpoint stands."""


class CheckpointFile:
    """Append checkpoints, a line of JSON each, to a file that is never rewritten; its operator may move it away."""

    def __init__(self, folder: Path, service: str) -> None:
        self.path = folder / f"{service}.checkpoints"
        self._service = service

    def open(self) -> None:
        """Make the folder and the file, and end a line that a crash left unfinished. Raises StateError."""
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with contextlib.closing(_Descriptor(self.path)) as file:
                if not file.ends_whole():
                    file.write(b"\n")
        except OSError as error:
            raise StateError(
                f"checkpoints cannot be written to {self.path}: {error.strerror}; set audit_checkpoint_folder",
                reason="FILE_UNWRITABLE",
            ) from error

    def append(self, checkpoint: Checkpoint) -> None:
        """Write the checkpoint through to the disk. Raises OSError."""
        with contextlib.closing(_Descriptor(self.path)) as file:
            file.write(f"{write_line(self._service, checkpoint)}\n".encode())

    def size(self) -> int:
        """Return the bytes of the file; 0 if there is none."""
        return self.path.stat().st_size if self.path.exists() else 0

    def newest(self) -> Checkpoint | None:
        """Return the checkpoint that was written last; None if there is none."""
        size = self.size()
        found: Checkpoint | None = None
        for found in self.checkpoints(size, start=max(0, size - TAIL)):  # noqa: B007 - the last one stays
            pass
        return found

    def checkpoints(self, size: int, *, start: int = 0) -> Iterator[Checkpoint]:
        """Give the checkpoints of the file's bytes up to `size`; lines that are none are passed over."""
        if not size:
            return
        with self.path.open("rb") as file:
            file.seek(start)
            while file.tell() < size and (line := file.readline(TAIL)):
                try:
                    read = read_line(line.decode())
                except ValueError:
                    continue
                if isinstance(read.part, Checkpoint) and read.service == self._service:
                    yield read.part


class CheckpointWriter:
    """Sign the head of a log whenever it has moved.

    INVARIANT: a checkpoint that the table has and the file has not is written to the file before any newer one. What
    retention deleted is taken from retention and from what is signed, never from the head: anybody who can write to the
    database could say there that retention deleted what they did.
    """

    def __init__(
        self,
        database: Database,
        table: sa.Table,
        *,
        key: ed25519.Ed25519PrivateKey,
        keys: Keys,
        file: CheckpointFile,
        now: Callable[[], datetime],
    ) -> None:
        self.file = file
        self._database = database
        self._table = table
        self._reader = AuditReader(database, table)
        self._key = key
        self._keys = keys
        self._now = now
        self._unwritten: list[Checkpoint] = []
        self._one_at_a_time = asyncio.Lock()
        self._sealed: int | None = None
        """The database's version when the newest record was found signed."""
        head = head_of(table)
        self._head = sa.select(head.c.sequence, head.c.hash).where(
            head.c.id == 1
        )  # composed once: it is asked every second

    async def seal(self) -> None:
        """Sign the newest record, unless that is done. Raises UnavailableError where it cannot be kept."""
        async with self._one_at_a_time:
            await self._write_file()
            version = await self._database.version()
            if version is not None and version == self._sealed:
                return
            if await self._is_sealed():
                self._sealed = version
                return
            async with self._database.transaction() as tx:
                made = await self.sign(tx)
            self._unwritten.append(made)
            await self._write_file()

    async def vouched(self, tx: Transaction) -> tuple[int, bytes]:
        """Return through which record retention deleted, and the hash of that record, as the newest checkpoint says."""
        newest = await self._reader.newest_checkpoint(tx)
        if newest is None or not is_signed(service_of(self._table), newest, self._keys):
            return 0, b""
        return newest.pruned_through, newest.anchor_hash

    def sealed_through(self, *newest: Checkpoint | None) -> int:
        """Return the last record that one of the checkpoints vouches for; those that no key of the log signed do not."""
        signed = (each for each in newest if each and is_signed(service_of(self._table), each, self._keys))
        return max((each.sequence for each in signed), default=0)

    async def sign(self, tx: Transaction, pruned: tuple[int, bytes] | None = None) -> Checkpoint:
        """Sign the head within a transaction and put it into the table; `write_out` follows once that is committed.

        `pruned` is what retention has deleted in this transaction; without it, that stays as it was signed before.
        """
        head = await locked_head(tx, self._table)
        pruned_through, anchor_hash = pruned or await self.vouched(tx)
        unsigned = Checkpoint(
            sequence=head["sequence"],
            hash=head["hash"],
            signed=to_microseconds(self._now()),
            pruned_through=pruned_through,
            anchor_hash=anchor_hash,
        )
        made = signed_by(self._key, service_of(self._table), unsigned)
        row = {
            column.name: getattr(made, column.name) for column in checkpoints_of(self._table).c if column.name != "id"
        }
        await tx.execute(sa.insert(checkpoints_of(self._table)), row)
        return made

    async def write_out(self, made: Checkpoint) -> None:
        """Write to the file what the table has."""
        async with self._one_at_a_time:
            self._unwritten.append(made)
            await self._write_file()

    async def catch_up(self, tx: Transaction) -> None:
        """Take up the newest checkpoint of the table where a crash kept it from the file."""
        newest, written = await self._reader.newest_checkpoint(tx), await asyncio.to_thread(self.file.newest)
        if newest is not None and (written is None or written.signed < newest.signed):
            self._unwritten.append(newest)

    async def _is_sealed(self) -> bool:
        async with self._database.read() as tx:
            row = (await tx.execute(self._head)).one()
            newest = await self._reader.newest_checkpoint(tx)
        if newest is None:
            return bool(row.sequence == 0)
        return (newest.sequence, newest.hash) == (row.sequence, row.hash)

    async def _write_file(self) -> None:
        while self._unwritten:
            try:
                await asyncio.to_thread(self.file.append, self._unwritten[0])
            except OSError as error:
                raise UnavailableError(
                    f"checkpoints cannot be written to {self.file.path}: {error.strerror}"
                ) from error
            del self._unwritten[0]


class _Descriptor:
    """Append to a file that others cannot read."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def ends_whole(self) -> bool:
        """Tell whether the file is empty or ends with the end of a line."""
        size = os.fstat(self._descriptor).st_size
        return size == 0 or os.pread(self._descriptor, 1, size - 1) == b"\n"

    def write(self, content: bytes) -> None:
        """Write all of it, through to the disk."""
        while content:
            content = content[os.write(self._descriptor, content) :]
        os.fsync(self._descriptor)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)
