"""How far the policy of each device has come, on SQLite: one connection and one thread of their own.

A group of changes is one errand to the thread, whatever is in it. Over the shared connections each statement would be one,
and between two of them the loop may have hundreds of streams to serve.

The deliveries of devices whose streams were opened here are known without being read again. INVARIANT: whoever else changes one of
those changes its stream too, for each holds his own; so after anybody else's commit it is enough to look at the streams.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from services._chassis.db import Database
from services.policy.model.delivery import Delivery, Held
from services.policy.ports import DeliveryStep
from services.policy.store.delivery_groups import bundles_named, parts, take_steps
from services.policy.store.delivery_rows import SqliteRows, differing, from_row, to_row, values_of, written

_KEEP_BUNDLE = "INSERT INTO policy_bundle (digest, contents) VALUES (?, ?) ON CONFLICT DO NOTHING"
_TOGETHER = 100
"""Rows in one statement: what remains of a group is another statement, and both are kept ready."""

Result = TypeVar("Result")


class SqliteDeliveries:
    """Keep deliveries; a device without a row has an empty one."""

    def __init__(self, database: Database) -> None:
        self.changes = 0
        """Moves with everything that this process changes."""
        self._database = database
        self._rows = SqliteRows()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="policy-deliveries")
        self._opened: sqlite3.Connection | None = None
        self._own: dict[str, str] = {}
        """The streams that were opened here, by device; the thread's alone."""
        self._known: dict[str, Delivery] = {}
        """What stands in the rows of their devices; the thread's alone."""
        self._unsure: set[str] = set()
        """Those of them whose rows somebody else may have changed."""
        self._version = 0

    async def change(self, steps: Sequence[tuple[str, DeliveryStep]]) -> Sequence[Delivery]:
        """Take each step for its device, in order, all or none, and return what each led to."""
        if not steps:
            return ()
        async with self._database.alone():
            led_to = await self._run(partial(self._change, steps))
        self.changes += 1
        return led_to

    async def hold(self, held: Sequence[Held]) -> Mapping[str, Delivery]:
        """Keep that streams are open; return the deliveries of those devices, by id, of which another stream is known."""
        if not held:
            return {}
        async with self._database.alone():
            others = await self._run(partial(self._hold, held))
        self.changes += 1
        return others

    async def many(self, device_ids: Collection[str]) -> Mapping[str, Delivery]:
        """Return what is known of the devices, by id; an empty delivery where nothing is."""
        return await self._run(partial(self._many, sorted(device_ids)))

    async def close(self) -> None:
        """Wait for what is under way, and close the connection."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown()

    async def _run(self, work: Callable[[], Result]) -> Result:
        """Let the thread do it. Raises UnavailableError where the file does not let it."""
        with self._database.telling():
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _change(self, steps: Sequence[tuple[str, DeliveryStep]]) -> Sequence[Delivery]:
        with self._transaction("BEGIN IMMEDIATE") as connection:
            found = self._found(connection, {device_id for device_id, _ in steps})
            before = _complete(found, [device_id for device_id, _ in steps])
            after, led_to = take_steps(steps, before)
            bundles = {bundle.digest: bundle.contents for bundle in bundles_named(before, after) if bundle.contents}
            kept = [(digest, contents.to_text()) for digest, contents in bundles.items()]
            connection.executemany(_KEEP_BUNDLE, kept)
            made = (to_row(new, self._rows) for device_id, new in after.items() if device_id not in found)
            connection.executemany(self._rows.write, made)
            self._update(connection, found, after)
        for device_id, new in after.items():
            self._remember(found.get(device_id), new)
        return led_to

    def _make_sure(self, connection: sqlite3.Connection, asked: set[str]) -> None:
        """Forget those of the deliveries that are not what stands in the file."""
        [version] = connection.execute("PRAGMA data_version").fetchone()
        if version != self._version:
            self._version, self._unsure = version, set(self._known)
        doubtful = asked & self._unsure & self._known.keys()
        self._unsure -= asked
        wrong = set(doubtful)
        for part in parts(sorted(doubtful)):
            found = connection.execute(self._rows.streams, self._rows.asked(part))
            wrong -= {device_id for device_id, stream in found if stream == self._known[device_id].stream}
        for device_id in wrong:
            del self._known[device_id]

    def _update(
        self, connection: sqlite3.Connection, before: Mapping[str, Delivery], after: Mapping[str, Delivery]
    ) -> None:
        """Write what is not as it was; what happens to many devices at once mostly touches the same columns of each."""
        alike: dict[tuple[int, ...], list[Sequence[Any]]] = {}
        for device_id, old in before.items():
            if (new := after[device_id]) is old:
                continue
            values = values_of(new)
            if columns := differing(values_of(old), values):
                alike.setdefault(columns, []).append(values)
        for columns, changed in alike.items():
            for start in range(0, len(changed), _TOGETHER):
                part = changed[start : start + _TOGETHER]
                connection.execute(self._rows.update(columns, len(part)), written(part, (0, *columns), self._rows))

    def _remember(self, before: Delivery | None, after: Delivery) -> None:
        """Know a delivery while its stream is one of ours: what others do to theirs they tell nobody."""
        device_id = after.device_id
        if before is None or before.stream != after.stream:
            self._own[device_id] = after.stream
        if after.connected and self._own.get(device_id) == after.stream:
            self._known[device_id] = after
        else:
            self._own.pop(device_id, None)
            self._known.pop(device_id, None)

    def _hold(self, held: Sequence[Held]) -> Mapping[str, Delivery]:
        rows, named = self._rows, {each.device_id: each.stream for each in held}
        values = ((rows.time(each.seen), rows.time(each.confirmed), each.device_id, each.stream) for each in held)
        with self._transaction("BEGIN IMMEDIATE") as connection:
            connection.executemany(rows.hold, values)
            others = set(named)
            for part in parts(sorted(named)):
                found = connection.execute(rows.streams, rows.asked(part))
                others -= {device_id for device_id, stream in found if stream == named[device_id]}
            not_held = _complete(self._read(connection, sorted(others)), others)
        for each in held:
            if known := self._known.get(each.device_id):
                self._known[each.device_id] = known.held(each.stream, each.seen, confirmed=each.confirmed)
        return not_held

    def _many(self, device_ids: Sequence[str]) -> Mapping[str, Delivery]:
        with self._transaction("BEGIN") as connection:
            return _complete(self._found(connection, set(device_ids)), device_ids)

    def _found(self, connection: sqlite3.Connection, asked: set[str]) -> Mapping[str, Delivery]:
        """Return the deliveries of which there are rows, of devices with open streams as they are known."""
        self._make_sure(connection, asked)
        known = {device_id: self._known[device_id] for device_id in asked & self._known.keys()}
        missing = sorted(asked - known.keys())
        return {**known, **self._read(connection, missing)} if missing else known

    def _read(self, connection: sqlite3.Connection, device_ids: Sequence[str]) -> Mapping[str, Delivery]:
        found: dict[str, Delivery] = {}
        for part in parts(device_ids):
            asked = connection.execute(self._rows.select, self._rows.asked(part))
            found.update((row[0], from_row(row, self._rows)) for row in asked)
        return found

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        """Open a transaction; commit if the block is left cleanly."""
        if self._opened is None:
            self._opened = self._database.own_connection()
        connection = self._opened
        connection.execute(begin)
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            self._known.clear()  # whatever it was: the file alone tells what stands in it now
            raise
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    def _close(self) -> None:
        if self._opened is not None:
            self._opened.close()
            self._opened = None


def _complete(found: Mapping[str, Delivery], device_ids: Collection[str]) -> Mapping[str, Delivery]:
    """Add the empty deliveries of devices without a row."""
    return {device_id: found.get(device_id) or Delivery(device_id) for device_id in device_ids}
