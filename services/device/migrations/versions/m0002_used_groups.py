"""Keep which groups policies are assigned to; there is one row, or none before the policy service has told. Reversible."""

import sqlalchemy as sa
from alembic import op

revision = "device_0002"
down_revision = "device_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "device_used_groups",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("groups", sa.JSON, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("device_used_groups")
