"""Read what became of attempts, day by day."""

from contextlib import nullcontext

import sqlalchemy as sa

from services.reporting.model.insights import Fate
from services.reporting.store.counted import facts_of
from services.reporting.store.planning import by_index
from services.reporting.store.survey import Survey

_FATE = ("day", "managed", "result", "elevation_type")


async def fates(survey: Survey) -> tuple[Fate, ...]:
    """Count attempts by day and by what became of them."""
    found = await facts_of(survey, _FATE, None)
    groups = [found.c[name] for name in _FATE]
    count = sa.cast(sa.func.sum(found.c.attempts), sa.BigInteger)
    counted = sa.select(*groups, count.label("count")).group_by(*groups).having(count > 0)
    async with by_index(survey.tx) if await survey.few_devices() else nullcontext():
        rows = (await survey.tx.execute(counted)).mappings().all()
    return tuple(Fate(**row) for row in rows)
