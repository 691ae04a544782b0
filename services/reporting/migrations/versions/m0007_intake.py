"""Number completions and diagnostics as attempts are, know when a consumer was set elsewhere, and list what went wrong by time."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_NUMBERED = ("reporting_completion", "reporting_diagnostic")
_INDEXES = {
    "reporting_diagnostic_newest": ("reporting_diagnostic", ["received", "event_id"]),
    "reporting_diagnostic_code": ("reporting_diagnostic", ["code", "received", "event_id"]),
    "reporting_gap_newest": ("reporting_gap", ["noticed", "journal_key", "first_seq"]),
    "reporting_dead_letter_newest": ("reporting_dead_letter", ["received", "id"]),
}


def upgrade() -> None:
    """Add the numbers; what is there already comes before everything that is stored from now on."""
    for table in _NUMBERED:
        op.add_column(table, sa.Column("stored", sa.BigInteger(), nullable=False, server_default="0"))
        op.create_index(f"{table}_stored", table, ["stored"])
    op.add_column("reporting_consumer", sa.Column("generation", sa.BigInteger(), nullable=False, server_default="0"))
    for name, (table, columns) in _INDEXES.items():
        op.create_index(name, table, columns)


def downgrade() -> None:
    """Undo it."""
    for name, (table, _) in _INDEXES.items():
        op.drop_index(name, table)
    op.drop_column("reporting_consumer", "generation")
    for table in reversed(_NUMBERED):
        op.drop_index(f"{table}_stored", table)
        op.drop_column(table, "stored")
