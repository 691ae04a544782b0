"""Note who was on which device, so that those who see a part read no counts of others."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_KEYS = ("user_key", "device_key")


def upgrade() -> None:
    """Note the pairs of all counts that are there.

    INVARIANT: no count comes in without its pair. A writer of before would store some: it asks for `names_epoch` in each of its
    transactions, and fails from now on; devices send again what it does not acknowledge. The column is renamed first, so that
    what such writers have begun is committed before the pairs are read.
    """
    op.execute("ALTER TABLE reporting_horizon RENAME COLUMN names_epoch TO numbers_epoch")
    op.create_table(
        "reporting_user_device",
        *(sa.Column(key, sa.Integer(), primary_key=True, autoincrement=False) for key in _KEYS),
        sqlite_with_rowid=False,
    )
    keys = ", ".join(_KEYS)
    counted = f"SELECT DISTINCT {keys} FROM reporting_count"  # noqa: S608 - our own names
    op.execute(f"INSERT INTO reporting_user_device ({keys}) {counted}")
    op.create_index("reporting_user_device_of_devices", "reporting_user_device", ["device_key", "user_key"])


def downgrade() -> None:
    """Undo it."""
    op.drop_table("reporting_user_device")
    op.execute("ALTER TABLE reporting_horizon RENAME COLUMN numbers_epoch TO names_epoch")
