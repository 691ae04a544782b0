"""Let attempts hold the numbers of what they are counted by, and count by rule and administrator too.

Attempts are read and written a thousand at a time. Counts are corrected rather than made anew: those of days whose events are
purged already stay, and tell of no rule and of no administrator.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

from epm.elevation.v1 import event_pb2

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_DAY = 86_400_000_000
_WEEK = 7 * 86_400_000
"""Milliseconds, as in the ids."""
_WEEKS_BEFORE, _WEEKS_AHEAD, _MOST_WEEKS = 6, 2, 60
_CHUNK = 1000
_MOST_KNOWN = 100_000
_MEMBERS = {
    "device": ("device_id", "device_name"),
    "user": ("user_name",),
    "file": ("file_name", "internal_name", "version", "company_name", "sha256", "publisher"),
    "decision": ("elevation_type", "result", "source", "managed", "administrator"),
    "rule": ("policy", "rule"),
}
_BOOLEANS = ("managed", "administrator")
_WHOLE = ("user", "file", "decision", "rule", "device")
_COARSE = {
    "reporting_count_by_file": ("file", "rule", "decision"),
    "reporting_count_by_user": ("user", "decision"),
    "reporting_count_by_rule": ("rule", "decision"),
    "reporting_count_by_device": ("device", "decision"),
    "reporting_count_by_decision": ("decision",),
    "reporting_count_unmanaged": ("user", "file", "device"),
}
_NEW = ("reporting_count_by_file", "reporting_count_by_rule", "reporting_count_by_device", "reporting_count_unmanaged")
_KEPT = ("journal_key", "seq", "event_id", "attempt_id", "occurred", "received", "stored", "body")
_READ = tuple(name for names in _MEMBERS.values() for name in names if name != "administrator")
_INDEXES = {
    "joined": ["attempt_id"],
    "newest": ["occurred", "event_id"],
    "stored": ["stored", "journal_key", "seq"],
    "user": ["day", "user_key"],
    "file": ["day", "file_key", "rule_key", "decision_key"],
    "device": ["day", "device_key", "file_key"],
}
_Row = tuple[Any, ...]


def upgrade() -> None:
    """Create what is new, convert what is there, and build the shorter counts from the longest."""
    connection = op.get_bind()
    op.add_column("reporting_horizon", sa.Column("names_epoch", sa.BigInteger(), nullable=False, server_default="0"))
    _know_administrators(connection)
    _create_known_rule()
    keys = _Keys(connection)
    _widen_counts(connection, keys.of("rule", ("", "")))
    _set_aside("reporting_attempt", "reporting_attempt_event")
    _create_attempt(connection)
    _convert(connection, keys)
    op.drop_table("reporting_attempt_0005")
    if connection.dialect.name == "postgresql":
        op.create_index("part_of_reporting_attempt_place", "reporting_attempt", ["journal_key", "seq"])
    for name, columns in _INDEXES.items():
        op.create_index(f"reporting_attempt_{name}", "reporting_attempt", columns)
    op.drop_table("reporting_count_by_file")
    for table in _NEW:
        _create_counts(table, _COARSE[table])
    for table, parts in _COARSE.items():
        _build(connection, table, parts)


def downgrade() -> None:
    """Refuse: what attempts and counts know by now has no place in the tables of before."""
    raise NotImplementedError("restore the backup that was made before the upgrade")


def _know_administrators(connection: sa.Connection) -> None:
    """Tell decisions of administrators apart; which of those that are counted already were, their events tell."""
    column: sa.Column[bool] = sa.Column("administrator", sa.Boolean(), nullable=False, server_default=sa.false())
    op.add_column("reporting_known_decision", column)
    table = _known("decision")
    for row in connection.execute(sa.select(table.c.decision_key, *(table.c[name] for name in _MEMBERS["decision"]))):
        changed = sa.update(table).where(table.c.decision_key == row[0]).values(digest=_digest(tuple(row[1:])))
        connection.execute(changed)


def _create_known_rule() -> None:
    op.create_table(
        "reporting_known_rule",
        sa.Column("rule_key", sa.Integer(), primary_key=True, autoincrement=True),
        *(_column(name) for name in ("digest", "policy", "rule")),
        sa.UniqueConstraint("digest", name="reporting_known_rule_digest"),
    )


def _widen_counts(connection: sa.Connection, unknown_rule: int) -> None:
    _set_aside("reporting_count")
    _create_counts("reporting_count", _WHOLE)
    keys = ", ".join(f"{part}_key" for part in _WHOLE)
    read = keys.replace("rule_key", str(unknown_rule))
    connection.execute(
        sa.text(
            f"INSERT INTO reporting_count (span, start, {keys}, attempts)"  # noqa: S608 - our own names
            f" SELECT span, start, {read}, attempts FROM reporting_count_0005"
        )
    )
    op.drop_table("reporting_count_0005")


def _set_aside(table: str, unique: str = "") -> None:
    """Rename a table, and on PostgreSQL what would be in the way of the new one's names."""
    if unique:
        for index in ("joined", "newest", "stored"):
            op.drop_index(f"{table}_{index}", table)
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f"ALTER TABLE {table} RENAME CONSTRAINT {table}_pkey TO {table}_0005_pkey")
        if unique:
            op.drop_constraint(unique, table)
    op.rename_table(table, f"{table}_0005")


def _create_attempt(connection: sa.Connection) -> None:
    whole = connection.dialect.name != "postgresql"
    op.create_table(
        "reporting_attempt",
        sa.Column("journal_key", sa.Integer(), primary_key=whole, autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), primary_key=whole, autoincrement=False, nullable=False),
        *(_column(name) for name in ("event_id", "attempt_id")),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("occurred", "received", "stored")),
        sa.Column("day", sa.Integer(), nullable=False),
        *(sa.Column(f"{name}_key", sa.Integer(), nullable=False) for name in _MEMBERS),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.UniqueConstraint("event_id", name="reporting_attempt_event"),
        postgresql_partition_by="RANGE (event_id)",
    )
    if not whole:
        _create_partitions(connection)


def _create_partitions(connection: sa.Connection) -> None:
    """Make a partition for each of the weeks around today and of what is stored, by the time in the ids, and one for what is far off."""
    week = int(connection.execute(sa.text("SELECT extract(epoch FROM now())::bigint / 604800")).scalar_one())
    oldest = connection.execute(sa.text("SELECT min(occurred) FROM reporting_attempt_0005")).scalar()
    stored = 0 if oldest is None else week - int(oldest) // (_WEEK * 1000)
    op.execute("CREATE TABLE part_of_reporting_attempt_rest PARTITION OF reporting_attempt DEFAULT")
    for number in range(week - min(max(stored, _WEEKS_BEFORE), _MOST_WEEKS), week + _WEEKS_AHEAD + 1):
        first, before = (f"{ms >> 16:08x}-{ms & 0xFFFF:04x}" for ms in (number * _WEEK, (number + 1) * _WEEK))
        op.execute(
            f"CREATE TABLE part_of_reporting_attempt_{number} PARTITION OF reporting_attempt"
            f" FOR VALUES FROM ('{first}') TO ('{before}')"
        )


def _create_counts(name: str, parts: Sequence[str]) -> None:
    keys = ("span", "start", *(f"{part}_key" for part in parts))
    op.create_table(
        name,
        *(sa.Column(key, sa.Integer(), primary_key=True, autoincrement=False) for key in keys),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sqlite_with_rowid=False,
        postgresql_with={"fillfactor": 70},
    )


def _column(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Boolean() if name in _BOOLEANS else _TEXT, nullable=False)


def _known(name: str) -> sa.TableClause:
    key: sa.ColumnClause[int] = sa.column(f"{name}_key", sa.Integer())
    columns = (sa.column(column, sa.Boolean() if column in _BOOLEANS else _TEXT) for column in _MEMBERS[name])
    return sa.table(f"reporting_known_{name}", key, sa.column("digest", _TEXT), *columns)


class _Keys:
    """Know members by number."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self._known: dict[tuple[str, _Row], int] = {}

    def of(self, name: str, member: _Row) -> int:
        """Return the number of a member, giving it one where it has none."""
        key = self._known.get((name, member))
        if key is None:
            if len(self._known) > _MOST_KNOWN:
                self._known.clear()
            key = self._known[name, member] = self._find(name, member)
        return key

    def _find(self, name: str, member: _Row) -> int:
        table, digest = _known(name), _digest(member)
        key = table.c[f"{name}_key"]
        found = self._connection.execute(sa.select(key).where(table.c.digest == digest)).scalar()
        if found is None:
            values = dict(zip(_MEMBERS[name], member, strict=True))
            inserted = sa.insert(table).values({"digest": digest, **values}).returning(key)
            found = self._connection.execute(inserted).scalar_one()
        return int(found)


def _digest(member: _Row) -> str:
    texts = (value if isinstance(value, str) else str(bool(value)) for value in member)
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def _convert(connection: sa.Connection, keys: _Keys) -> None:
    horizon = int(connection.execute(sa.text("SELECT counts_before FROM reporting_horizon")).scalar_one())
    written = (*_KEPT, "day", *(f"{name}_key" for name in _MEMBERS))
    marks = ", ".join(f":{name}" for name in written)
    insert = sa.text(f"INSERT INTO reporting_attempt ({', '.join(written)}) VALUES ({marks})")  # noqa: S608 - our own names
    nobody = keys.of("rule", ("", ""))
    for chunk in _chunks(connection):
        moved: Counter[_Row] = Counter()
        rows = []
        for attempt in chunk:
            decided = event_pb2.ElevationEvent.FromString(attempt["body"]).decided
            attempt["administrator"] = False
            found = {name: keys.of(name, tuple(attempt[part] for part in parts)) for name, parts in _MEMBERS.items()}
            day = int(attempt["occurred"]) // _DAY
            before = found | {"rule": nobody}
            if decided.administrator:
                attempt["administrator"] = True
                found["decision"] = keys.of("decision", tuple(attempt[part] for part in _MEMBERS["decision"]))
            if day >= horizon:
                moved[(day, *(before[part] for part in _WHOLE))] -= 1
                moved[(day, *(found[part] for part in _WHOLE))] += 1
            numbers = {f"{name}_key": key for name, key in found.items()}
            rows.append({name: attempt[name] for name in _KEPT} | {"day": day} | numbers)
        connection.execute(insert, rows)
        _move(connection, {cell: attempts for cell, attempts in moved.items() if attempts})
    connection.execute(sa.text("DELETE FROM reporting_count WHERE attempts <= 0"))


def _chunks(connection: sa.Connection) -> Iterator[list[dict[str, Any]]]:
    """Yield the attempts of before, some at a time, in the order of their places."""
    columns = [
        *map(sa.column, _KEPT),
        *(sa.column(name, sa.Boolean() if name in _BOOLEANS else _TEXT) for name in _READ),
    ]
    old = sa.table("reporting_attempt_0005", *columns)
    place = (old.c.journal_key, old.c.seq)
    reached: _Row | None = None
    while True:
        asked = sa.select(old).order_by(*place).limit(_CHUNK)
        if reached is not None:
            asked = asked.where(sa.tuple_(*place) > sa.tuple_(*map(sa.literal, reached)))
        chunk = [dict(row) for row in connection.execute(asked).mappings()]
        if not chunk:
            return
        reached = (chunk[-1]["journal_key"], chunk[-1]["seq"])
        yield chunk


def _move(connection: sa.Connection, moved: dict[_Row, int]) -> None:
    if not moved:
        return
    keys = ("span", "start", *(f"{part}_key" for part in _WHOLE))
    marks = ", ".join(f":{name}" for name in (*keys, "attempts"))
    statement = sa.text(
        f"INSERT INTO reporting_count ({', '.join(keys)}, attempts) VALUES ({marks})"  # noqa: S608 - our own names
        f" ON CONFLICT ({', '.join(keys)}) DO UPDATE SET attempts = reporting_count.attempts + excluded.attempts"
    )
    names = (*keys, "attempts")
    rows = [dict(zip(names, (1, *cell, attempts), strict=True)) for cell, attempts in moved.items()]
    connection.execute(statement, rows)


def _build(connection: sa.Connection, table: str, parts: Sequence[str]) -> None:
    """Build counts by some of what attempts are counted by, for spans of 1, 8 and 64 days."""
    keys = ", ".join(f"{part}_key" for part in parts)
    insert = f"INSERT INTO {table} (span, start, {keys}, attempts)"
    only = ""
    if table == "reporting_count_unmanaged":
        only = "WHERE decision_key IN (SELECT decision_key FROM reporting_known_decision WHERE NOT managed)"
    whole = f"SELECT 1, start, {keys}, sum(attempts) FROM reporting_count {only} GROUP BY start, {keys}"  # noqa: S608 - our own names
    for statement in (f"DELETE FROM {table}", f"{insert} {whole}"):  # noqa: S608 - our own names
        connection.execute(sa.text(statement))
    for span, shorter in ((8, 1), (64, 8)):
        source = f"SELECT start - start % {span} AS start, {keys}, attempts FROM {table} WHERE span = {shorter}"  # noqa: S608 - our own names
        merged = f"SELECT {span}, start, {keys}, sum(attempts) FROM ({source}) AS shorter GROUP BY start, {keys}"  # noqa: S608 - our own names
        connection.execute(sa.text(f"{insert} {merged}"))
