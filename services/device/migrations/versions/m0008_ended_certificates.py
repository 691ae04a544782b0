"""Keep certificates that ended with an earlier life of a device apart from those that renewals replaced. Reversible.

Of those that are there nobody knows the cause: they count as replaced until the device enrols anew or leaves.
"""

import sqlalchemy as sa
from alembic import op

revision = "device_0008"
down_revision = "device_0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create it; what older code writes meanwhile gets the default."""
    op.add_column("device_devices", sa.Column("ended_serials", sa.JSON, nullable=False, server_default="[]"))


def downgrade() -> None:
    """Undo it."""
    op.drop_column("device_devices", "ended_serials")
