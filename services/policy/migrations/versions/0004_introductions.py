"""Keep which runs of a device's agent said hello, and which keys it verifies policy by."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add them, empty: replicas of an older version go on without."""
    for name in ("runs", "key_ids"):
        op.add_column("policy_delivery", sa.Column(name, sa.JSON(), nullable=False, server_default=sa.text("'[]'")))


def downgrade() -> None:
    """Drop them; they are told again by every hello."""
    with op.batch_alter_table("policy_delivery") as table:
        table.drop_column("key_ids")
        table.drop_column("runs")
