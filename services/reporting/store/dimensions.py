"""What attempts are found and counted by: each kind in a table of its own, whose members are known by small numbers."""

from dataclasses import dataclass

import sqlalchemy as sa

from services.reporting.store import tables


@dataclass(frozen=True, slots=True)
class Dimension:
    """Something that attempts are counted by: its table, and the columns that make up a member."""

    table: sa.Table
    columns: tuple[str, ...]

    @property
    def key(self) -> str:
        """Return the name of the number under which a member is known."""
        return next(iter(self.table.primary_key)).name


def _dimension(table: sa.Table) -> Dimension:
    return Dimension(
        table, tuple(column.name for column in table.c if not column.primary_key and column.name != "digest")
    )


DEVICE, USER, FILE, DECISION, RULE = map(
    _dimension,
    (tables.KNOWN_DEVICE, tables.KNOWN_USER, tables.KNOWN_FILE, tables.KNOWN_DECISION, tables.KNOWN_RULE),
)
DIMENSIONS = (DEVICE, USER, FILE, DECISION, RULE)
OWNER = {column: dimension for dimension in DIMENSIONS for column in dimension.columns}
"""The dimension to which a column belongs."""
