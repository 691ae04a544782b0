"""Keep groups in groups, and links by which users, members and nesting groups are found. Reversible.

What older code writes meanwhile has no links until it is written again: a list of users may lack somebody for so long.
"""

from collections.abc import Iterable, Iterator

import sqlalchemy as sa
from alembic import op

revision = "device_0006"
down_revision = "device_0005"
branch_labels = None
depends_on = None

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_BATCH = 1000
_LINKS = sa.table("device_links", sa.column("kind"), sa.column("name"), sa.column("of"))
_DEVICES = sa.table(
    "device_devices",
    sa.column("device_id"),
    sa.column("enrolled_name"),
    sa.column("users", sa.JSON),
    sa.column("reported_users", sa.JSON),
)
_GROUPS = sa.table("device_groups", sa.column("name"), sa.column("type"), sa.column("members", sa.JSON))


def upgrade() -> None:
    """Create it, and link what is there."""
    op.add_column("device_groups", sa.Column("groups", sa.JSON, nullable=False, server_default="[]"))
    op.create_table("device_links", *(sa.Column(name, _TEXT, primary_key=True) for name in ("kind", "name", "of")))
    op.create_index("device_links_of", "device_links", ["of", "kind"])
    _insert(_links())


def downgrade() -> None:
    """Undo it."""
    op.drop_table("device_links")
    op.drop_column("device_groups", "groups")


def _links() -> Iterator[dict[str, str]]:
    connection = op.get_bind()
    for row in connection.execute(sa.select(_DEVICES).where(_DEVICES.c.enrolled_name.is_not(None))).mappings().all():
        for kind, column in (("bound", "users"), ("reported", "reported_users")):
            yield from ({"kind": kind, "name": name, "of": row["device_id"]} for name in dict.fromkeys(row[column]))
    for row in connection.execute(sa.select(_GROUPS)).mappings().all():
        kind = "user" if row["type"] == "USER" else "device"
        yield from ({"kind": kind, "name": name, "of": row["name"]} for name in dict.fromkeys(row["members"]))


def _insert(links: Iterable[dict[str, str]]) -> None:
    batch: list[dict[str, str]] = []
    for link in links:
        batch.append(link)
        if len(batch) == _BATCH:
            op.get_bind().execute(sa.insert(_LINKS), batch)
            batch = []
    if batch:
        op.get_bind().execute(sa.insert(_LINKS), batch)
