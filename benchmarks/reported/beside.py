"""Ask the same of DuckDB: one native table with the same attempts, every name written out beside each of them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
import sqlalchemy as sa

from benchmarks.reported.asked import CALLERS, LISTED, LISTS, PAGE, WINDOWS
from services._chassis.db import Database
from services.reporting.store.dimensions import DIMENSIONS
from services.reporting.store.narrowing import COLUMNS
from services.reporting.store.tables import ATTEMPT, DEVICE_TAG

_TOLD = ("event_id", "occurred", "day")
_KEYS = tuple(dimension.key for dimension in DIMENSIONS)
_FILE = "file_name, internal_name, version, company_name, sha256, publisher"
_MANAGED = "count(*) FILTER (managed) AS managed, count(*) FILTER (NOT managed) AS unmanaged"
_BY_USER = f"user_name, device_id, device_name, {_FILE}, elevation_type"
_TOP = (
    f"(SELECT {{kind}} AS kind, {_FILE}, elevation_type, count(*) AS n FROM seen WHERE {{kind}} GROUP BY ALL"
    f" ORDER BY n DESC, {_FILE}, elevation_type LIMIT 5)"
)
_KINDS = ("NOT managed", "source = 'GRANT' AND result = 'ELEVATED'", "result = 'DENIED'")
_SPLIT = "SELECT m, u, count(*) FROM (SELECT bool_or(managed) m, bool_or(NOT managed) u FROM seen GROUP BY {who}) GROUP BY ALL"
_OBSTACLES = (
    "WITH pairs AS (SELECT user_name, sha256, file_name, count(*) n, count(DISTINCT device_id) d FROM seen WHERE NOT managed"
    " GROUP BY ALL), alone AS (SELECT any_value(sha256) sha256, any_value(file_name) file_name FROM pairs GROUP BY user_name"
    " HAVING count(*) = 1), freed AS (SELECT sha256, file_name, count(*) f FROM alone GROUP BY ALL)"
    " SELECT file_name, sha256, any_value(coalesce(f, 0)) freed, count(*) users, sum(n) FROM pairs"
    " LEFT JOIN freed USING (sha256, file_name) GROUP BY ALL ORDER BY freed DESC, users DESC, 1 LIMIT 51"
)
REPORTS: Mapping[str, Sequence[str]] = {
    "summary": ("SELECT managed, result, elevation_type, count(*) FROM seen GROUP BY ALL",),
    "applications": (
        f"SELECT {_FILE}, elevation_type, count(*) n FROM seen GROUP BY ALL ORDER BY n DESC, {_FILE}, elevation_type LIMIT 51",
    ),
    "publishers": (
        "SELECT publisher, elevation_type, count(*) n FROM seen GROUP BY ALL ORDER BY n DESC, publisher, elevation_type LIMIT 51",
    ),
    "users": (f"SELECT user_name, count(*) n, {_MANAGED} FROM seen GROUP BY 1 ORDER BY n DESC, 1 LIMIT 51",),
    "tiles": (
        "SELECT day, managed, result, elevation_type, count(*) FROM seen GROUP BY ALL",
        *(_SPLIT.format(who=who) for who in ("user_name", "device_id")),
        *(_TOP.format(kind=kind) for kind in _KINDS),
    ),
    "trend": ("SELECT day, managed, result, elevation_type, count(*) FROM seen GROUP BY ALL",),
    "by user, day": (
        f"SELECT day, {_BY_USER}, count(*) n FROM seen GROUP BY ALL ORDER BY day DESC, {_BY_USER} LIMIT 51",
    ),
    "by user, month": (
        f"SELECT month, {_BY_USER}, count(*) n FROM seen GROUP BY ALL ORDER BY month DESC, {_BY_USER} LIMIT 51",
    ),
    "readiness": (
        f"SELECT user_name, {_MANAGED} FROM seen GROUP BY 1 ORDER BY unmanaged, managed DESC, 1 LIMIT 51",
        f"SELECT count(*) FILTER (unmanaged = 0), count(*) FILTER (managed = 0) FROM (SELECT {_MANAGED} FROM seen GROUP BY user_name)",
    ),
    "obstacles": (_OBSTACLES,),
}
"""Every report in SQL, of `seen`: the attempts that the question is about."""


class Beside:
    """Hold the attempts of a database in DuckDB, in a file that may be kept."""

    def __init__(self, path: Path) -> None:
        self._duck = duckdb.connect(str(path))

    def close(self) -> None:
        """Close the file."""
        self._duck.close()

    @property
    def attempts(self) -> int:
        """Return how many attempts there are; none where it was never filled."""
        there = self._duck.execute("SELECT count(*) FROM information_schema.tables WHERE table_name = 'attempt'")
        if not _number(there):
            return 0
        return _number(self._duck.execute("SELECT count(*) FROM attempt"))

    @property
    def last(self) -> int:
        """Return the last day with attempts."""
        return _number(self._duck.execute("SELECT max(day) FROM attempt"))

    async def fill(self, database: Database) -> None:
        """Take over everything that a database holds."""
        for dimension in DIMENSIONS:
            names = (dimension.key, *dimension.columns)
            rows = await _rows(database, sa.select(*(dimension.table.c[name] for name in names)))
            self._take(dimension.table.name, names, rows)
        self._take("tagged", ("device_id", "tag"), await _rows(database, sa.select(DEVICE_TAG)))
        days = await _rows(database, sa.select(sa.func.min(ATTEMPT.c.day), sa.func.max(ATTEMPT.c.day)))
        first, last = (int(str(day)) for day in days[0])
        columns = [ATTEMPT.c[name] for name in (*_TOLD, *_KEYS)]
        for day in range(first, last + 1):
            rows = await _rows(database, sa.select(*columns).where(ATTEMPT.c.day == day))
            if rows:
                self._take("bare", (*_TOLD, *_KEYS), rows)
        joins = " ".join(f"JOIN {one.table.name} USING ({one.key})" for one in DIMENSIONS)
        month = "date_trunc('month', make_timestamp(day::BIGINT * 86400000000)) AS month"
        keys = ", ".join(_KEYS)
        self._duck.execute(f"CREATE TABLE attempt AS SELECT * EXCLUDE ({keys}), {month} FROM bare {joins}")
        self._duck.execute("DROP TABLE bare")

    def reports(self, last: int) -> Iterator[tuple[str, str, str, Callable[[], object]]]:
        """Yield every report: who sees what, the span of days up to the last one, its name, and how to ask it."""
        for seen, tags in CALLERS.items():
            for window, days in WINDOWS.items():
                narrow = [] if days is None else [f"day > {last - days}"]
                for name, asked in REPORTS.items():
                    yield seen, window, name, self._asking([*narrow, *_tagged(tags)], asked)

    def lists(self) -> Iterator[tuple[str, str, str, Callable[[], object]]]:
        """Yield the first page of every list."""
        asked = (f"SELECT * FROM seen ORDER BY occurred DESC, event_id DESC LIMIT {PAGE.size + 1}",)
        for seen in LISTED:
            for name, values in LISTS.items():
                yield seen, "all", name, self._asking([*_narrowed(values), *_tagged(CALLERS[seen])], asked)

    def _asking(self, narrow: Sequence[str], asked: Sequence[str]) -> Callable[[], object]:
        where = " AND ".join(narrow) or "true"
        statements = [f"WITH seen AS (SELECT * FROM attempt WHERE {where}) SELECT * FROM ({one})" for one in asked]
        return lambda: [self._duck.execute(one).fetchall() for one in statements]

    def _take(self, table: str, names: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        taken = pa.table(dict(zip(names, map(pa.array, zip(*rows, strict=True)), strict=True)))
        self._duck.register("taken", taken)
        self._duck.execute(f"CREATE TABLE IF NOT EXISTS {table} AS SELECT * FROM taken LIMIT 0")
        self._duck.execute(f"INSERT INTO {table} SELECT * FROM taken")
        self._duck.unregister("taken")


async def _rows(database: Database, asked: sa.Select[tuple[object, ...]]) -> Sequence[Sequence[object]]:
    async with database.read() as tx:
        return [tuple(row) for row in await tx.execute(asked)]


def _number(found: duckdb.DuckDBPyConnection) -> int:
    rows = found.fetchall()  # all of them, else the connection waits for the rest
    return int(rows[0][0]) if rows else 0


def _tagged(tags: frozenset[str] | None) -> list[str]:
    return (
        [] if tags is None else [f"device_id IN (SELECT device_id FROM tagged WHERE tag IN ({_texts(sorted(tags))}))"]
    )


def _narrowed(values: Mapping[str, object]) -> Iterator[str]:
    for name, value in values.items():
        if isinstance(value, tuple):
            yield f"{COLUMNS[name]} IN ({_texts(value)})"
        else:
            yield "managed" if value else "NOT managed"


def _texts(values: Sequence[str]) -> str:
    return ", ".join(f"'{value}'" for value in values)
