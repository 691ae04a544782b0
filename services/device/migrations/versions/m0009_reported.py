"""Keep what may be reported from each device. Reversible.

Nothing is told yet of those that are there: until the policy service tells, everything is taken from them.
"""

import sqlalchemy as sa
from alembic import op

revision = "device_0009"
down_revision = "device_0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create it; what older code writes meanwhile gets the default."""
    op.add_column("device_devices", sa.Column("reporting_scope", sa.Text, nullable=False, server_default=""))
    op.add_column("device_devices", sa.Column("reported_until", sa.JSON, nullable=False, server_default="{}"))


def downgrade() -> None:
    """Undo it."""
    op.drop_column("device_devices", "reported_until")
    op.drop_column("device_devices", "reporting_scope")
