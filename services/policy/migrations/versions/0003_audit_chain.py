"""Make the audit log a chain. Reversible; hashes and checkpoints are lost on the way back."""

from services._chassis.audit_schema import chain_audit, unchain_audit

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create it."""
    chain_audit("policy")


def downgrade() -> None:
    """Undo it."""
    unchain_audit("policy")
