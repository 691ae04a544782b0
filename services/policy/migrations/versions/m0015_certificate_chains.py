"""Keep each chain of certificates once, however many requests brought it. Reversible.

A replica of the version before shows requests of the new one without certificates, until it is replaced.
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_REQUEST, _CHAIN = "policy_elevation_request", "policy_certificate_chain"


def upgrade() -> None:
    """Add the table; certificates of requests of before stay where they are."""
    op.create_table(
        _CHAIN,
        sa.Column("digest", _TEXT, primary_key=True),
        sa.Column("certificates", sa.JSON, nullable=False),
    )
    op.add_column(_REQUEST, sa.Column("chain", _TEXT, nullable=False, server_default=""))
    op.create_index(f"{_REQUEST}_chain", _REQUEST, ["chain"])


def downgrade() -> None:
    """Undo it: each request has its certificates again."""
    chains = sa.table(_CHAIN, sa.column("digest"), sa.column("certificates"))
    requests = sa.table(_REQUEST, sa.column("chain"), sa.column("certificates"))
    own = sa.select(chains.c.certificates).where(chains.c.digest == requests.c.chain).scalar_subquery()
    op.execute(sa.update(requests).where(requests.c.chain != "").values(certificates=own))
    op.drop_index(f"{_REQUEST}_chain", _REQUEST)
    with op.batch_alter_table(_REQUEST) as table:
        table.drop_column("chain")
    op.drop_table(_CHAIN)
