"""Reports counted again the slow way by another engine: DuckDB, on one flat table of what devices sent.

Nothing here is taken from the service: not its words, its tables nor its reading of an event. Each report is one query over all rows.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import pyarrow as pa

from epm.elevation.v1 import event_pb2, rules_pb2
from epm.reporting.v1 import reports_pb2

FILE = ("file_name", "internal_name", "version", "company_name", "sha256", "publisher")
GRANT, ELEVATED, DENIED = event_pb2.SOURCE_GRANT, event_pb2.ATTEMPT_RESULT_ELEVATED, event_pb2.ATTEMPT_RESULT_DENIED
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
_TEXTS = pa.string()
_COLUMNS = {
    **dict.fromkeys(("event_id", "attempt_id", "device_id", "device_name", "user", "policy", "rule", *FILE), _TEXTS),
    **dict.fromkeys(("occurred", "type", "result", "source"), pa.int64()),
    **dict.fromkeys(("managed", "administrator"), pa.bool_()),
}
_ALTERNATIVES = {
    "elevation_types": "type",
    "results": "result",
    "sources": "source",
    "users": '"user"',
    "devices": "device_name",
    "device_ids": "device_id",
    "policies": "policy",
    "rules": "rule",
    "publishers": "publisher",
    "file_names": "file_name",
    "internal_names": "internal_name",
    "versions": "version",
    "company_names": "company_name",
    "attempt_ids": "attempt_id",
}
Row = tuple[Any, ...]


def row_of(event: event_pb2.ElevationEvent, device_id: str, device_name: str) -> dict[str, Any]:
    """Return an attempt as one flat row."""
    told, file = event.decided, event.decided.file
    windows = told.platform == rules_pb2.PLATFORM_WINDOWS
    path = file.path.replace("\\", "/") if windows else file.path
    return {
        "event_id": event.event_id,
        "attempt_id": event.attempt_id,
        "device_id": device_id,
        "device_name": device_name,
        "user": told.user,
        "policy": told.policy,
        "rule": told.rule,
        "file_name": path.split("/")[-1],
        "internal_name": file.internal_name,
        "version": file.version,
        "company_name": file.company_name,
        "sha256": file.sha256.lower(),
        "publisher": file.publisher or file.company_name,
        "occurred": event.occurred.seconds * 1_000_000 + event.occurred.nanos // 1000,
        "type": int(told.elevation_type),
        "result": int(told.result),
        "source": int(told.source),
        "managed": told.managed,
        "administrator": told.administrator,
    }


@dataclass
class Recount:
    """Every attempt that should count, and the tags of their devices."""

    tags: Mapping[str, frozenset[str]] = field(default_factory=dict)
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add(self, events: Iterable[event_pb2.ElevationEvent], device_id: str, device_name: str) -> None:
        """Take attempts; one that was taken before stays as it was."""
        for event in events:
            self.rows.setdefault(event.event_id, row_of(event, device_id, device_name))

    def asked(self, asked: reports_pb2.ElevationFilter, tags: frozenset[str] | None) -> "Asked":
        """Return what a filter leaves of all rows for somebody who sees devices with these tags (None: all)."""
        columns = {name: [row[name] for row in self.rows.values()] for name in _COLUMNS}
        table = pa.table({name: pa.array(values, _COLUMNS[name]) for name, values in columns.items()})
        visible = None if tags is None else sorted(name for name, own in self.tags.items() if own & tags)
        return Asked(table, asked, visible)


class Asked:
    """The rows that a question is about."""

    def __init__(self, table: pa.Table, asked: reports_pb2.ElevationFilter, visible: list[str] | None) -> None:
        self._engine = duckdb.connect()
        self._engine.register("everything", table)
        where, values = _where(asked, visible)
        self._engine.execute(f"CREATE TABLE a AS SELECT * FROM everything WHERE {where}", values)  # noqa: S608 - our own names

    def rows(self, query: str, *values: object) -> list[Row]:
        """Return the rows of a query over the table `a`."""
        return self._engine.execute(query, values).fetchall()

    def elevations(self) -> list[Row]:
        """Return attempts and their devices, oldest first."""
        return self.rows("SELECT attempt_id, device_id, device_name FROM a ORDER BY occurred, event_id")

    def within(self, drill_down: reports_pb2.ElevationFilter) -> int:
        """Count what a second filter leaves."""
        where, values = _where(drill_down, None)
        return int(self.rows(f"SELECT count(*) FROM a WHERE {where}", *values)[0][0])  # noqa: S608 - our own names

    def summary(self) -> Row:
        """Return total, managed and unmanaged, and the counts by result and by type."""
        ((total, managed),) = self.rows("SELECT count(*), count(*) FILTER (managed) FROM a")
        return (total, managed, total - managed, self._tally("result"), self._tally("type"))

    def applications(self) -> list[Row]:
        """Return file, type and count."""
        return self.rows(f"SELECT {_names(FILE)}, type, count(*) FROM a GROUP BY ALL")  # noqa: S608

    def publishers(self) -> list[Row]:
        """Return publisher, type and count."""
        return self.rows("SELECT publisher, type, count(*) FROM a GROUP BY ALL")

    def users(self) -> list[Row]:
        """Return user, managed, unmanaged and total."""
        counts = "count(*) FILTER (managed), count(*) FILTER (NOT managed), count(*)"
        return self.rows(f'SELECT "user", {counts} FROM a GROUP BY ALL')  # noqa: S608

    def periods(self, period: str) -> dict[datetime, Row]:
        """Return total, managed and unmanaged of each period that has attempts."""
        counts = "count(*), count(*) FILTER (managed), count(*) FILTER (NOT managed)"
        rows = self.rows(f"SELECT {_start(period)} AS start, {counts} FROM a GROUP BY start ORDER BY start")  # noqa: S608
        return {start.replace(tzinfo=UTC): tuple(rest) for start, *rest in rows}

    def user_applications(self, period: str) -> list[Row]:
        """Return period, user, device, its name, file, type and count."""
        keys = f'{_start(period)}, "user", device_id, device_name, {_names(FILE)}, type'
        rows = self.rows(f"SELECT {keys}, count(*) FROM a GROUP BY ALL")  # noqa: S608
        return [(start.replace(tzinfo=UTC), *rest) for start, *rest in rows]

    def split(self, subject: str) -> Row:
        """Return how many had managed attempts alone, both, and unmanaged ones alone."""
        each = f"SELECT bool_or(managed) AS m, bool_or(NOT managed) AS u FROM a GROUP BY {subject}"  # noqa: S608
        kinds = "count(*) FILTER (m AND NOT u), count(*) FILTER (m AND u), count(*) FILTER (u AND NOT m)"
        return self.rows(f"SELECT {kinds} FROM ({each})")[0]  # noqa: S608

    def top(self, kind: str) -> dict[Row, int]:
        """Return the counts of applications of one kind: unmanaged, approved or denied."""
        kinds = {
            "unmanaged": "NOT managed",
            "approved": f"source = {GRANT} AND result = {ELEVATED}",
            "denied": f"result = {DENIED}",
        }
        rows = self.rows(f"SELECT {_names(FILE)}, type, count(*) FROM a WHERE {kinds[kind]} GROUP BY ALL")  # noqa: S608
        return {(tuple(row[: len(FILE)]), row[-2]): row[-1] for row in rows}

    def readiness(self, subject: str) -> list[Row]:
        """Return who, the first name, managed, unmanaged, whether an administrator, and how many obstacles; in order."""
        name = '"user"' if subject == "user" else "device_name"
        key = '"user"' if subject == "user" else "device_id"
        file = f"({_names(FILE)})"
        counts = "count(*) FILTER (managed) AS m, count(*) FILTER (NOT managed) AS u, bool_or(administrator)"
        obstacles = f"count(DISTINCT {file}) FILTER (NOT managed)"
        order = "ORDER BY u, m DESC, first, key"
        return self.rows(
            f"SELECT {key} AS key, min({name}) AS first, {counts}, {obstacles} FROM a GROUP BY {key} {order}"  # noqa: S608
        )

    def obstacles(self) -> list[Row]:
        """Return file, attempts, users, devices and users freed, in order."""
        file = _names(FILE)
        return self.rows(
            f"""
            WITH u AS (SELECT * FROM a WHERE NOT managed),
            alone AS (SELECT "user" FROM (SELECT DISTINCT "user", {file} FROM u) GROUP BY "user" HAVING count(*) = 1)
            SELECT {file}, count(*), count(DISTINCT "user") AS users, count(DISTINCT device_id),
                count(DISTINCT "user") FILTER ("user" IN (SELECT "user" FROM alone)) AS freed
            FROM u GROUP BY {file} ORDER BY freed DESC, users DESC, {file}
            """  # noqa: S608
        )

    def newest_of(self, file: Row) -> str:
        """Return the newest unmanaged attempt of a file."""
        same = " AND ".join(f"{name} = ?" for name in FILE)
        query = f"SELECT attempt_id FROM a WHERE NOT managed AND {same} ORDER BY occurred DESC, event_id DESC LIMIT 1"  # noqa: S608
        return str(self.rows(query, *file)[0][0])

    def last_names(self, device_id: str) -> set[str]:
        """Return what a device was called on the last day of its attempts."""
        last = "occurred // 86400000000 = (SELECT max(occurred) // 86400000000 FROM a WHERE device_id = ?)"
        query = f"SELECT DISTINCT device_name FROM a WHERE device_id = ? AND {last}"  # noqa: S608
        return {name for (name,) in self.rows(query, device_id, device_id)}

    def _tally(self, name: str) -> dict[int, int]:
        return dict(self.rows(f"SELECT {name}, count(*) FROM a GROUP BY ALL"))  # noqa: S608


def _where(asked: reports_pb2.ElevationFilter, visible: list[str] | None) -> tuple[str, list[object]]:
    parts, values = ["true"], list[object]()
    for name, sign in (("occurred_from", ">="), ("occurred_before", "<")):
        if asked.HasField(name):  # type: ignore[arg-type]
            stamp = getattr(asked, name)
            parts.append(f"occurred {sign} ?")
            values.append(stamp.seconds * 1_000_000 + stamp.nanos // 1000)
    for name, column in _ALTERNATIVES.items():
        if wanted := list(getattr(asked, name)):
            parts.append(f"list_contains(?, {column})")
            values.append(wanted)
    if asked.sha256s:
        parts.append("list_contains(?, sha256)")
        values.append([digest.lower() for digest in asked.sha256s])
    for name in ("managed", "administrator"):
        if asked.HasField(name):  # type: ignore[arg-type]
            parts.append(f"{name} = ?")
            values.append(getattr(asked, name))
    if asked.governed_by_rule:
        parts.append(f"source = {event_pb2.SOURCE_RULE}")
    if visible is not None:
        parts.append("list_contains(?::VARCHAR[], device_id)")
        values.append(visible)
    return " AND ".join(parts), values


def _start(period: str) -> str:
    return f"date_trunc('{period}', make_timestamp(occurred))"


def _names(names: Iterable[str]) -> str:
    return ", ".join(names)
