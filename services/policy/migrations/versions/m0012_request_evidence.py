"""Keep how many bytes of evidence came with a request, for the limits of devices. Reversible."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; what was taken before counts as one request without a size."""
    column = sa.Column("evidence", sa.Integer, nullable=False, server_default="0")
    op.add_column("policy_elevation_request", column)


def downgrade() -> None:
    """Undo it."""
    with op.batch_alter_table("policy_elevation_request") as table:
        table.drop_column("evidence")
