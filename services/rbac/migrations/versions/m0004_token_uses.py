"""Create the table that says when tokens were last shown. Reversible."""

import sqlalchemy as sa
from alembic import op

revision = "rbac_0004"
down_revision = "rbac_0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "rbac_token_uses",
        sa.Column("token_id", sa.Text, primary_key=True),
        sa.Column("last_used", sa.DateTime(timezone=True), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("rbac_token_uses")
