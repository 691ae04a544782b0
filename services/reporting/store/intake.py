"""Keep what could not be stored, and know what never came.

- A letter's identifier holds a part of its event's digest: SQLite gives the number of a letter that is gone to another one.
- A letter goes in the transaction that records who tried it again, and only where its event is there.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from services._chassis import audit_store
from services._chassis.audit import AuditEntry
from services._chassis.db import Database, Transaction
from services._chassis.paging import Page, PageRequest, cut
from services.reporting.model.events import datetime_of, microseconds
from services.reporting.model.intake import (
    NO_LONGER_KEPT,
    IntakeQuestion,
    Letter,
    LetterBody,
    MissingPlaces,
    Retried,
    Verdict,
)
from services.reporting.model.live import Statement
from services.reporting.model.reports import ElevationFilter, Question
from services.reporting.store.kinds import statement_of, statements
from services.reporting.store.narrowing import carrying
from services.reporting.store.tables import ATTEMPT, AUDIT, COMPLETION, DEAD_LETTER, DIAGNOSTIC, GAP, JOURNAL
from services.reporting.store.weights import weight_of

_ID = re.compile(r"([0-9]{1,18})-([0-9a-f]{8})")
_L = DEAD_LETTER.c
_G = GAP.c
_D = DIAGNOSTIC.c
_SHOWN = (_L.id, _L.device_id, _L.journal_id, _L.seq, _L.digest, _L.received, _L.reason)
_SIZE = sa.func.length(_L.body).label("size")


class SqlIntake:
    """Look on SQLite or PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def dead_letters(self, asked: IntakeQuestion, page: PageRequest) -> Page[Letter]:
        """Return dead letters, newest first."""
        found = sa.select(*_SHOWN, _SIZE).where(*_about(asked, _L.device_id, _L.received))
        if page.after:
            found = found.where(sa.tuple_(_L.received, _L.id) < sa.tuple_(*map(sa.literal, page.after)))
        rows = await self._rows(found.order_by(_L.received.desc(), _L.id.desc()).limit(page.size + 1))
        return cut(list(map(_letter_of, rows)), page, key=_letter_key)

    async def dead_letter(self, letter_id: str, tags: frozenset[str] | None) -> LetterBody | None:
        """Return a dead letter whole; None if there is none that may be seen."""
        if (named := _named(letter_id)) is None:
            return None
        found = sa.select(*_SHOWN, _SIZE, _L.body).where(named, *carrying(_L.device_id, tags))
        rows = await self._rows(found)
        return LetterBody(_letter_of(rows[0]), rows[0]["body"]) if rows else None

    async def letters(self, letter_ids: Sequence[str], tags: frozenset[str] | None) -> list[Letter]:
        """Return those of the letters that are there and may be seen."""
        named = [one for one in map(_named, letter_ids) if one is not None]
        if not named:
            return []
        found = sa.select(*_SHOWN, _SIZE).where(sa.or_(*named), *carrying(_L.device_id, tags))
        return list(map(_letter_of, await self._rows(found)))

    async def settle(self, verdicts: Sequence[Verdict], now: datetime) -> Retried:
        """Delete letters whose events are there, note the reasons of the others, and record who tried them again."""
        stored, remaining = list[Letter](), list[Letter]()
        async with self._database.transaction() as tx:
            await tx.next_revision()
            for verdict in verdicts:
                reason = verdict.reason or ("" if await _is_there(tx, verdict.event_id) else NO_LONGER_KEPT)
                named = _named(verdict.letter.letter_id)
                if named is None:
                    continue
                if reason:
                    await tx.execute(sa.update(DEAD_LETTER).where(named).values(reason=reason))
                    remaining.append(replace(verdict.letter, reason=reason))
                else:
                    await tx.execute(sa.delete(DEAD_LETTER).where(named))
                    stored.append(verdict.letter)
            if verdicts:
                await audit_store.record(tx, AUDIT, _entry(stored, remaining), now=now)
        return Retried(len(stored), tuple(remaining))

    async def gaps(self, asked: IntakeQuestion, page: PageRequest) -> Page[MissingPlaces]:
        """Return gaps, newest notice first."""
        place = (_G.noticed, _G.journal_key, _G.first_seq)
        found = (
            sa.select(*place, _G.last_seq, JOURNAL.c.device_id, JOURNAL.c.journal_id)
            .join(JOURNAL, JOURNAL.c.journal_key == _G.journal_key)
            .where(*_about(asked, JOURNAL.c.device_id, _G.noticed))
        )
        if page.after:
            noticed, key, first = page.after
            older = sa.and_(
                _G.noticed == noticed, sa.tuple_(*place[1:]) > sa.tuple_(sa.literal(key), sa.literal(first))
            )
            found = found.where(_G.noticed <= noticed, sa.or_(_G.noticed < noticed, older))
        rows = await self._rows(found.order_by(_G.noticed.desc(), _G.journal_key, _G.first_seq).limit(page.size + 1))
        found_page = cut(rows, page, key=lambda row: (row["noticed"], row["journal_key"], row["first_seq"]))
        return Page(tuple(map(_gap_of, found_page.items)), found_page.next_token)

    async def diagnostics(self, asked: IntakeQuestion, codes: Sequence[str], page: PageRequest) -> Page[Statement]:
        """Return what agents said of their own health, newest first; of some codes, or all."""
        found = statements(Question(ElevationFilter(), asked.tags)).where(*_about(asked, _D.device_id, _D.received))
        if codes:
            found = found.where(_D.code.in_(codes))
        if page.after:
            found = found.where(sa.tuple_(_D.received, _D.event_id) < sa.tuple_(*map(sa.literal, page.after)))
        rows = await self._rows(found.order_by(_D.received.desc(), _D.event_id.desc()).limit(page.size + 1))
        fitting = page.fitting(weight_of((row["message"],)) for row in rows)
        return cut(list(map(statement_of, rows)), fitting, key=lambda one: (microseconds(one.received), one.event_id))

    async def _rows(self, statement: sa.Select[Any]) -> Sequence[sa.RowMapping]:
        async with self._database.read() as tx:
            return (await tx.execute(statement)).mappings().all()


async def _is_there(tx: Transaction, event_id: str) -> bool:
    found = sa.union_all(
        *(sa.select(sa.literal(1)).where(table.c.event_id == event_id) for table in (ATTEMPT, COMPLETION, DIAGNOSTIC))
    )
    return (await tx.execute(found)).first() is not None


def _entry(stored: Sequence[Letter], remaining: Sequence[Letter]) -> AuditEntry:
    """State which letters were tried again: their events stay where they are."""
    details = {"stored": _ids(stored), "remaining": _ids(remaining)}
    return AuditEntry(action="dead_letters_retried", target_kind="dead_letters", target="reporting", details=details)


def _ids(letters: Sequence[Letter]) -> str:
    return ", ".join(sorted(letter.letter_id for letter in letters))


def _about(
    asked: IntakeQuestion, device: sa.ColumnElement[Any], received: sa.ColumnElement[Any]
) -> list[sa.ColumnElement[bool]]:
    conditions = carrying(device, asked.tags)
    if asked.filter.device_ids:
        conditions.append(device.in_(asked.filter.device_ids))
    if asked.filter.received_from is not None:
        conditions.append(received >= microseconds(asked.filter.received_from))
    if asked.filter.received_before is not None:
        conditions.append(received < microseconds(asked.filter.received_before))
    return conditions


def _named(letter_id: str) -> sa.ColumnElement[bool] | None:
    matched = _ID.fullmatch(letter_id)
    if matched is None:
        return None
    return sa.and_(_L.id == int(matched[1]), sa.func.substr(_L.digest, 1, 8) == matched[2])


def _letter_of(row: sa.RowMapping) -> Letter:
    return Letter(
        letter_id=f"{row['id']}-{row['digest'][:8]}",
        device_id=row["device_id"],
        journal_id=row["journal_id"],
        seq=row["seq"],
        received=datetime_of(row["received"]),
        reason=row["reason"],
        size=row["size"],
    )


def _letter_key(letter: Letter) -> tuple[int, int]:
    return microseconds(letter.received), int(letter.letter_id.partition("-")[0])


def _gap_of(row: sa.RowMapping) -> MissingPlaces:
    return MissingPlaces(
        device_id=row["device_id"],
        journal_id=row["journal_id"],
        first_seq=row["first_seq"],
        last_seq=row["last_seq"],
        noticed=datetime_of(row["noticed"]),
    )
