"""Keep when a device refused its document for a cause that passes."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; what was refused before stays refused until the next run of the agent."""
    op.add_column("policy_delivery", sa.Column("put_off", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    """Undo it."""
    op.drop_column("policy_delivery", "put_off")
