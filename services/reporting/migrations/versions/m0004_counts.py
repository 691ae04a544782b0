"""Count attempts while they come in; count what is there already, day by day."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_DAY = 86_400_000_000
_SPANS = (1, 8, 64)
_CHUNK = 1000
_MEMBERS = {
    "device": ("device_id", "device_name"),
    "user": ("user_name",),
    "file": ("file_name", "internal_name", "version", "company_name", "sha256", "publisher"),
    "decision": ("elevation_type", "result", "source", "managed"),
}
_COUNTS = {
    "reporting_count": ("device", "user", "file", "decision"),
    "reporting_count_by_file": ("file", "decision"),
    "reporting_count_by_user": ("user", "decision"),
    "reporting_count_by_decision": ("decision",),
}
_Row = tuple[Any, ...]


def upgrade() -> None:
    """Create the tables and fill them."""
    op.add_column("reporting_journal", sa.Column("purged_through", sa.BigInteger(), nullable=False, server_default="0"))
    op.create_index("reporting_completion_oldest", "reporting_completion", ["occurred"])
    op.create_index("reporting_diagnostic_oldest", "reporting_diagnostic", ["occurred"])
    for name, columns in _MEMBERS.items():
        op.create_table(
            f"reporting_known_{name}",
            sa.Column(f"{name}_key", sa.Integer(), primary_key=True, autoincrement=True),
            *(_column(column) for column in ("digest", *columns)),
            sa.UniqueConstraint("digest", name=f"reporting_known_{name}_digest"),
        )
    for name, members in _COUNTS.items():
        keys = ("span", "start", *(f"{member}_key" for member in members))
        op.create_table(
            name,
            *(sa.Column(key, sa.Integer(), primary_key=True, autoincrement=False) for key in keys),
            sa.Column("attempts", sa.BigInteger(), nullable=False),
            sqlite_with_rowid=False,
            postgresql_with={"fillfactor": 70},
        )
    op.create_table(
        "reporting_horizon",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("counts_before", sa.BigInteger(), nullable=False),
    )
    op.execute("INSERT INTO reporting_horizon (id, counts_before) VALUES (1, 0)")
    _count(op.get_bind())


def downgrade() -> None:
    """Forget the counts."""
    for name in ("reporting_horizon", *_COUNTS, *(f"reporting_known_{name}" for name in _MEMBERS)):
        op.drop_table(name)
    op.drop_index("reporting_diagnostic_oldest", "reporting_diagnostic")
    op.drop_index("reporting_completion_oldest", "reporting_completion")
    op.drop_column("reporting_journal", "purged_through")


def _column(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Boolean() if name == "managed" else _TEXT, nullable=False)


def _count(connection: sa.Connection) -> None:
    keys: dict[str, dict[_Row, int]] = {name: {} for name in _MEMBERS}
    for day, cells in _days(connection):
        found: dict[str, Counter[_Row]] = {name: Counter() for name in _COUNTS}
        for members, attempts in cells:
            known = {name: _key(connection, name, keys[name], member) for name, member in members.items()}
            for table, parts in _COUNTS.items():
                for span in _SPANS if table != "reporting_count" else _SPANS[:1]:
                    found[table][(span, day - day % span, *(known[part] for part in parts))] += attempts
        for table, counts in found.items():
            _add(connection, table, [(*cell, attempts) for cell, attempts in counts.items()])


def _days(connection: sa.Connection) -> Iterator[tuple[int, list[tuple[dict[str, _Row], int]]]]:
    """Yield each day on which there are attempts, with what they were, and how many."""
    attempt = sa.table("reporting_attempt", sa.column("occurred"), *map(_column, sum(_MEMBERS.values(), ())))
    dimensions = [attempt.c[column] for columns in _MEMBERS.values() for column in columns]
    oldest = sa.select(sa.func.min(attempt.c.occurred))
    found = connection.execute(oldest).scalar()
    while found is not None:
        day = int(found) // _DAY
        within = (attempt.c.occurred >= day * _DAY, attempt.c.occurred < (day + 1) * _DAY)
        asked = sa.select(*dimensions, sa.func.count()).where(*within).group_by(*dimensions)
        yield day, [_cell(tuple(row)) for row in connection.execute(asked)]
        found = connection.execute(oldest.where(attempt.c.occurred >= (day + 1) * _DAY)).scalar()


def _cell(row: _Row) -> tuple[dict[str, _Row], int]:
    members, first = {}, 0
    for name, columns in _MEMBERS.items():
        members[name] = row[first : first + len(columns)]
        first += len(columns)
    return members, int(row[-1])


def _key(connection: sa.Connection, name: str, keys: dict[_Row, int], member: _Row) -> int:
    if member not in keys:
        columns = _MEMBERS[name]
        key: sa.ColumnClause[int] = sa.column(f"{name}_key", sa.Integer())
        table = sa.table(f"reporting_known_{name}", key, _column("digest"), *map(_column, columns))
        values = dict(zip(columns, member, strict=True))
        inserted = sa.insert(table).values({"digest": _digest(member), **values}).returning(key)
        keys[member] = int(connection.execute(inserted).scalar_one())
    return keys[member]


def _digest(member: _Row) -> str:
    return hashlib.sha256("\0".join(map(str, member)).encode()).hexdigest()


def _add(connection: sa.Connection, table: str, rows: list[_Row]) -> None:
    keys = ("span", "start", *(f"{member}_key" for member in _COUNTS[table]))
    columns = (*keys, "attempts")
    statement = sa.text(
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join(f':{column}' for column in columns)})"  # noqa: S608 - our own names
        f" ON CONFLICT ({', '.join(keys)}) DO UPDATE SET attempts = {table}.attempts + excluded.attempts"
    )
    for start in range(0, len(rows), _CHUNK):
        chunk = rows[start : start + _CHUNK]
        connection.execute(statement, [dict(zip(columns, row, strict=True)) for row in chunk])
