"""Create the tables of trusted issuers. Reversible."""

import sqlalchemy as sa
from alembic import op

revision = "rbac_0003"
down_revision = "rbac_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "rbac_trusted_issuers",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("issuer", sa.Text, nullable=False),
        sa.Column("audiences", sa.JSON, nullable=False),
        sa.Column("jwks_uri", sa.Text, nullable=False),
        sa.Column("jwks", sa.Text, nullable=False),
        sa.Column("principal_claim", sa.Text, nullable=False),
        sa.Column("principal_prefix", sa.Text, nullable=False),
        sa.Column("groups_claim", sa.Text, nullable=False),
        sa.Column("group_mappings", sa.JSON, nullable=False),
        sa.Column("client_id", sa.Text, nullable=False),
    )
    op.create_table(
        "rbac_issuer_keys",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("jwks", sa.Text, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("rbac_issuer_keys")
    op.drop_table("rbac_trusted_issuers")
