"""Find the newest uses of a grant. Reversible."""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_USE = "policy_grant_use"


def upgrade() -> None:
    """Add the index."""
    op.create_index(f"{_USE}_newest", _USE, ["grant_id", "used", "attempt_id"])


def downgrade() -> None:
    """Undo it."""
    op.drop_index(f"{_USE}_newest", _USE)
