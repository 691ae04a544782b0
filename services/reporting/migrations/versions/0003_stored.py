"""Number attempts in the order in which they were stored, so that whoever reads along misses none."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the number; what is there already comes before everything that is stored from now on."""
    op.add_column("reporting_attempt", sa.Column("stored", sa.BigInteger(), nullable=False, server_default="0"))
    op.create_index("reporting_attempt_stored", "reporting_attempt", ["stored"])


def downgrade() -> None:
    """Undo it."""
    op.drop_index("reporting_attempt_stored", "reporting_attempt")
    op.drop_column("reporting_attempt", "stored")
