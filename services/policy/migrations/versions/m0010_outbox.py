"""Keep notices of requests until approvers are told. Reversible."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "policy_outbox",
        sa.Column("notice", _TEXT, primary_key=True),
        sa.Column("channel", _TEXT, primary_key=True),
        sa.Column("event", _TEXT, nullable=False),
        sa.Column("request_id", _TEXT, nullable=False),
        sa.Column("content", sa.JSON, nullable=False),
        sa.Column("due", _TIME, nullable=False),
        sa.Column("lease", _TEXT, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("error", _TEXT, nullable=False),
        sa.Column("given_up", _TIME, nullable=True),
    )
    op.create_index("policy_outbox_due", "policy_outbox", ["channel", "due"])
    op.create_index("policy_outbox_request", "policy_outbox", ["request_id"])


def downgrade() -> None:
    """Undo it."""
    op.drop_table("policy_outbox")
