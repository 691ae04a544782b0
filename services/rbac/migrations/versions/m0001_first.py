"""Create the tables of the rbac service. Reversible."""

import sqlalchemy as sa
from alembic import op

revision = "rbac_0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = (
    "rbac_tokens",
    "rbac_scope_tags",
    "rbac_role_assignments",
    "rbac_principal_groups",
    "rbac_roles",
    "rbac_audit",
    "rbac_revision",
)


def upgrade() -> None:
    revisions = op.create_table(
        "rbac_revision",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("value", sa.BigInteger, nullable=False),
    )
    op.bulk_insert(revisions, [{"id": 1, "value": 0}])
    _create_audit()
    op.create_table(
        "rbac_roles",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("rights", sa.JSON, nullable=False),
    )
    op.create_table(
        "rbac_principal_groups",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("members", sa.JSON, nullable=False),
    )
    op.create_table(
        "rbac_role_assignments",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("members", sa.JSON, nullable=False),
        sa.Column("scope_groups", sa.JSON, nullable=False),
        sa.Column("scope_tags", sa.JSON, nullable=False),
        sa.Column("expires", sa.DateTime(timezone=True), nullable=True),
    )
    op.create_table(
        "rbac_scope_tags",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("description", sa.Text, nullable=False),
    )
    _create_tokens()


def downgrade() -> None:
    for table in TABLES:
        op.drop_table(table)


def _create_audit() -> None:
    op.create_table(
        "rbac_audit",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("recorded", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("target_kind", sa.Text, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("before", sa.JSON, nullable=True),
        sa.Column("after", sa.JSON, nullable=True),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("details", sa.JSON, nullable=False),
    )
    op.create_index("ix_rbac_audit_recorded", "rbac_audit", ["recorded"])


def _create_tokens() -> None:
    op.create_table(
        "rbac_tokens",
        sa.Column("token_id", sa.Text, primary_key=True),
        sa.Column("digest", sa.LargeBinary, nullable=False, unique=True),
        sa.Column("principal", sa.Text, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked", sa.DateTime(timezone=True), nullable=True),
    )
