"""Create the table of how far the policy of each device has come."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Create it."""
    op.create_table(
        "policy_delivery",
        sa.Column("device_id", _TEXT, primary_key=True),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("desired", _TEXT, nullable=False),
        sa.Column("offered", sa.DateTime(timezone=True), nullable=True),
        sa.Column("applied_revision", sa.BigInteger(), nullable=False),
        sa.Column("applied_desired", _TEXT, nullable=False),
        sa.Column("rejected_revision", sa.BigInteger(), nullable=False),
        sa.Column("rejections", sa.JSON(), nullable=False),
        sa.Column("confirmed", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lost", sa.DateTime(timezone=True), nullable=True),
        sa.Column("stream", _TEXT, nullable=False),
        sa.Column("seen", sa.DateTime(timezone=True), nullable=True),
    )


def downgrade() -> None:
    """Drop it; devices that come back are offered revisions above those that they hold."""
    op.drop_table("policy_delivery")
