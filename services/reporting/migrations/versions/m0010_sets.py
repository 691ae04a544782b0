"""Keep, of closed spans, who met which application unmanaged as sets of numbers."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_SPAN = ("span", "start")


def _numbers(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.Integer(), primary_key=True, autoincrement=False) for name in names]


def upgrade() -> None:
    """Create what is new. Days that were closed without it are closed again."""
    values = [sa.Column(name, sa.LargeBinary(), nullable=False) for name in ("users", "devices")]
    digest = sa.Column("digest", sa.Text(), nullable=False)
    op.create_table("reporting_obstacle_sets", *_numbers(*_SPAN), *values, digest)
    op.create_table(
        "reporting_obstacle_late", *_numbers(*_SPAN, "file_key", "user_key", "device_key"), sqlite_with_rowid=False
    )
    op.execute("UPDATE reporting_horizon SET closed_before = 0, closings = closings + 1")


def downgrade() -> None:
    """Undo it."""
    op.drop_table("reporting_obstacle_late")
    op.drop_table("reporting_obstacle_sets")
