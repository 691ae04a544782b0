"""Make the audit log a chain. Reversible; hashes and checkpoints are lost on the way back."""

from services._chassis.audit_schema import chain_audit, unchain_audit

revision = "rbac_0002"
down_revision = "rbac_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create it."""
    chain_audit("rbac")


def downgrade() -> None:
    """Undo it."""
    unchain_audit("rbac")
