"""Create the audit log, of refusals and of who read it."""

from services._chassis.audit_schema import create_audit, drop_audit

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create it."""
    create_audit("reporting")


def downgrade() -> None:
    """Undo it."""
    drop_audit("reporting")
