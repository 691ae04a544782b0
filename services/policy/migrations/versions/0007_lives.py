"""Keep which life of a device a delivery belongs to, and which processes hold streams."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Add them; what is kept belongs to the life that the directory tells next."""
    op.add_column("policy_delivery", sa.Column("life", sa.DateTime(timezone=True), nullable=True))
    op.create_table(
        "policy_process",
        sa.Column("process", _TEXT, primary_key=True),
        sa.Column("seen", sa.DateTime(timezone=True), nullable=False),
    )


def downgrade() -> None:
    """Undo it."""
    op.drop_table("policy_process")
    op.drop_column("policy_delivery", "life")
