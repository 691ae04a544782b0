"""Remember how far the consumers of exports are."""

import sqlalchemy as sa

from services._chassis.db import Database
from services.reporting.model.live import Cursor
from services.reporting.store.tables import CONSUMER
from services.reporting.store.unbroken import unbroken

_C = CONSUMER.c
_PLACE = (_C.position, _C.journal_key, _C.seq)


class SqlConsumers:
    """Remember on SQLite or PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @unbroken
    async def committed(self, principal: str, name: str) -> Cursor | None:
        """Return the cursor up to which a consumer keeps everything safe; None for one that is new."""
        asked = sa.select(*_PLACE).where(_C.principal == principal, _C.name == name)
        async with self._database.read() as tx:
            row = (await tx.execute(asked)).one_or_none()
        return None if row is None else Cursor(*row)

    @unbroken
    async def commit(self, principal: str, name: str, cursor: Cursor) -> None:
        """Remember a cursor durably; one that is behind what is remembered changes nothing."""
        behind = sa.tuple_(*_PLACE) < sa.tuple_(*map(sa.literal, cursor))
        owner = {"principal": principal, "name": name}
        place = {"position": cursor.position, "journal_key": cursor.journal_key, "seq": cursor.seq}
        known = sa.select(_C.name).where(_C.principal == principal, _C.name == name).with_for_update()
        async with self._database.transaction() as tx:
            if (await tx.execute(known)).first() is None:
                await tx.execute(sa.insert(CONSUMER), {**owner, **place})
            else:
                moved = sa.update(CONSUMER).where(_C.principal == principal, _C.name == name, behind)
                await tx.execute(moved.values(**place))
