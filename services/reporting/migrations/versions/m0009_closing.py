"""Close days when they are over, and count by device and file for the long spans that are."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_KEYS = ("span", "start", "device_key", "file_key", "rule_key", "decision_key")
_NEW = ("closed_before", "closings")


def upgrade() -> None:
    """Create what is new. No day is closed yet: that is done day by day, while the service is at work.

    INVARIANT: what comes late is added to spans that are closed. A writer of before would not: it asks for `numbers_epoch` in each of
    its transactions, and fails from now on; devices send again what it does not acknowledge.
    """
    op.execute("ALTER TABLE reporting_horizon RENAME COLUMN numbers_epoch TO numbers_forgotten")
    for name in _NEW:
        op.add_column("reporting_horizon", sa.Column(name, sa.BigInteger(), nullable=False, server_default="0"))
    op.create_table(
        "reporting_count_by_device_file",
        *(sa.Column(key, sa.Integer(), primary_key=True, autoincrement=False) for key in _KEYS),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sqlite_with_rowid=False,
        postgresql_with={"fillfactor": 70},
    )


def downgrade() -> None:
    """Undo it."""
    op.drop_table("reporting_count_by_device_file")
    for name in reversed(_NEW):
        op.drop_column("reporting_horizon", name)
    op.execute("ALTER TABLE reporting_horizon RENAME COLUMN numbers_forgotten TO numbers_epoch")
