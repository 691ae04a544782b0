"""Read what became of attempts, day by day."""

import sqlalchemy as sa

from services._chassis.db import Transaction
from services.reporting.model.insights import Fate
from services.reporting.model.reports import Question
from services.reporting.store.counted import facts

_FATE = ("day", "managed", "result", "elevation_type")


async def fates(tx: Transaction, question: Question) -> tuple[Fate, ...]:
    """Count attempts by day and by what became of them."""
    found = await facts(tx, question, _FATE, None)
    groups = [found.c[name] for name in _FATE]
    count = sa.cast(sa.func.sum(found.c.attempts), sa.BigInteger)
    rows = await tx.execute(sa.select(*groups, count.label("count")).group_by(*groups).having(count > 0))
    return tuple(Fate(**row) for row in rows.mappings())
