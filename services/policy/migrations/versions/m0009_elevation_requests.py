"""Create the tables of elevation requests, of uses of grants and of outcomes that devices are to hear of. Reversible."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_TIME = sa.DateTime(timezone=True)
_REQUEST, _USE, _OUTCOME = "policy_elevation_request", "policy_grant_use", "policy_request_outcome"


def upgrade() -> None:
    """Create them."""
    _create_requests()
    op.create_table(
        _USE,
        sa.Column("device_id", _TEXT, primary_key=True),
        sa.Column("attempt_id", _TEXT, primary_key=True),
        sa.Column("grant_id", _TEXT, nullable=False),
        sa.Column("used", _TIME, nullable=False),
        sa.Column("recorded", _TIME, nullable=False),
    )
    op.create_table(
        _OUTCOME,
        sa.Column("device_id", _TEXT, primary_key=True),
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("request_id", _TEXT, nullable=False),
        sa.Column("state", _TEXT, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("kept", sa.Boolean, nullable=False),
    )
    op.create_index(f"{_OUTCOME}_request", _OUTCOME, ["request_id"])
    op.create_index(f"{_OUTCOME}_revision", _OUTCOME, ["revision"])


def downgrade() -> None:
    """Drop them."""
    for table in (_OUTCOME, _USE, _REQUEST):
        op.drop_table(table)


def _create_requests() -> None:
    op.create_table(
        _REQUEST,
        sa.Column("request_id", _TEXT, primary_key=True),
        sa.Column("device_id", _TEXT, nullable=False),
        sa.Column("device_name", _TEXT, nullable=False),
        sa.Column("requester", _TEXT, nullable=False),
        sa.Column("justification", _TEXT, nullable=False),
        sa.Column("attempt_id", _TEXT, nullable=False),
        sa.Column("submitted", _TIME, nullable=False),
        sa.Column("review_deadline", _TIME, nullable=False),
        sa.Column("platform", _TEXT, nullable=False),
        sa.Column("file", sa.JSON, nullable=False),
        sa.Column("sha256", _TEXT, nullable=False),
        sa.Column("arguments", sa.JSON, nullable=False),
        sa.Column("policy", _TEXT, nullable=False),
        sa.Column("rule", _TEXT, nullable=False),
        sa.Column("scope_tags", sa.JSON, nullable=False),
        sa.Column("life", _TIME, nullable=True),
        sa.Column("state", _TEXT, nullable=False),
        sa.Column("review", sa.JSON, nullable=True),
        sa.Column("access", sa.JSON, nullable=True),
        sa.Column("ending", sa.JSON, nullable=True),
        sa.Column("certificates", sa.JSON, nullable=False),
        sa.Column("due", _TIME, nullable=True),
        sa.Column("changed", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("device_id", "attempt_id", name=f"{_REQUEST}_attempt"),
    )
    op.create_index(f"{_REQUEST}_changed", _REQUEST, ["changed", "request_id"])
    op.create_index(f"{_REQUEST}_due", _REQUEST, ["due"])
    op.create_index(f"{_REQUEST}_state", _REQUEST, ["state", "request_id"])
    op.create_index(f"{_REQUEST}_submitted", _REQUEST, ["submitted", "request_id"])
