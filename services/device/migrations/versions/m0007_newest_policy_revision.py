"""Find the newest revision of the policy service that a device rests on without looking at all devices. Reversible."""

from alembic import op

revision = "device_0007"
down_revision = "device_0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create it."""
    op.create_index("device_devices_heard", "device_devices", ["policy_revision"])


def downgrade() -> None:
    """Undo it."""
    op.drop_index("device_devices_heard", "device_devices")
