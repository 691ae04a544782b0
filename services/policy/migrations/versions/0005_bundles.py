"""Keep which policies the document of each device is made of."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table, and name its rows in the deliveries; none is known of those that there are."""
    op.create_table(
        "policy_bundle",
        sa.Column("digest", sa.LargeBinary(), primary_key=True),
        sa.Column("contents", sa.Text(), nullable=False),
    )
    op.add_column("policy_delivery", sa.Column("bundle", sa.LargeBinary(), nullable=True))
    op.add_column("policy_delivery", sa.Column("applied_bundle", sa.LargeBinary(), nullable=True))


def downgrade() -> None:
    """Undo it; what devices hold is known again once they have said hello."""
    op.drop_column("policy_delivery", "applied_bundle")
    op.drop_column("policy_delivery", "bundle")
    op.drop_table("policy_bundle")
