"""Create the table of principal records. Reversible."""

import sqlalchemy as sa
from alembic import op

revision = "rbac_0005"
down_revision = "rbac_0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "rbac_principals",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("endpoint_users", sa.JSON, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("rbac_principals")
