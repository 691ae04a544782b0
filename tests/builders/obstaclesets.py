"""The sets of closed spans, held against what they were made of."""

import sqlalchemy as sa

from services._chassis.db import Database
from services.reporting.model.obstacles import Sets, of_pairs, united, unpacked
from services.reporting.model.rollups import start_of
from services.reporting.store import tables


async def check_sets(database: Database) -> set[tuple[int, int]]:
    """Hold the sets of closed spans, with what came late, against the counts of their days; return which spans there are."""
    kept, late, counts = tables.OBSTACLE_SETS.c, tables.OBSTACLE_LATE.c, tables.COUNT_UNMANAGED.c
    told: dict[tuple[int, int], list[tuple[Sets, Sets]]] = {}
    async with database.read() as tx:
        horizon = (await tx.execute(sa.select(tables.HORIZON))).mappings().one()
        for row in await tx.execute(sa.select(kept.span, kept.start, kept.users, kept.devices)):
            told.setdefault((row.span, row.start), []).append((unpacked(row.users), unpacked(row.devices)))
        for row in await tx.execute(sa.select(late.span, late.start, late.file_key, late.user_key, late.device_key)):
            one = of_pairs([(row.file_key, row.user_key)]), of_pairs([(row.file_key, row.device_key)])
            told.setdefault((row.span, row.start), []).append(one)
        cells = (
            await tx.execute(
                sa.select(counts.start, counts.file_key, counts.user_key, counts.device_key).where(counts.span == 1)
            )
        ).all()

    def visible(span: int, start: int) -> bool:
        return int(horizon["counts_before"]) <= start <= int(horizon["closed_before"]) - span

    expected: dict[tuple[int, int], list[tuple[int, int, int]]] = {}
    for day, *cell in map(tuple, cells):
        for span in (1, 8, 64):
            expected.setdefault((span, start_of(day, span)), []).append(tuple(cell))
    found = {}
    for (span, start), many in told.items():
        users, devices = (united(sets) for sets in zip(*many, strict=True))
        if users and visible(span, start):
            found[span, start] = users, devices
    assert found == {
        (span, start): (
            of_pairs((file, user) for file, user, _ in of),
            of_pairs((file, device) for file, _, device in of),
        )
        for (span, start), of in expected.items()
        if visible(span, start)
    }
    return set(found)
