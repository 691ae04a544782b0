"""Keep what became of devices, and since when no policy applies to them. Reversible; both are lost on the way back."""

import sqlalchemy as sa
from alembic import op

revision = "device_0004"
down_revision = "device_0003"
branch_labels = None
depends_on = None

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_ORDER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Create it."""
    op.create_table(
        "device_history",
        sa.Column("id", _ORDER, primary_key=True, autoincrement=True),
        sa.Column("device_id", _TEXT, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        *(sa.Column(name, _TEXT, nullable=False) for name in ("kind", "before", "after", "reason", "actor")),
    )
    op.create_index("device_history_of", "device_history", ["device_id", "id"])
    op.add_column("device_devices", sa.Column("policy_lost", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    """Undo it."""
    op.drop_column("device_devices", "policy_lost")
    op.drop_table("device_history")
