"""Keep how often a grant had been used when its outcome came, so that the outcome can be told again as it was. Reversible."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; outcomes of before are told with the uses of now."""
    op.add_column("policy_request_outcome", sa.Column("uses", sa.Integer))


def downgrade() -> None:
    """Undo it."""
    with op.batch_alter_table("policy_request_outcome") as table:
        table.drop_column("uses")
