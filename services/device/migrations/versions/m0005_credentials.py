"""Keep devices' certificates, the keys they ever had, marks of clones, and tombstones; bind tokens to devices and names. Reversible.

Devices that are there have no certificate that is known: any of theirs counts until the first renewal.
"""

import sqlalchemy as sa
from alembic import op

revision = "device_0005"
down_revision = "device_0004"
branch_labels = None
depends_on = None

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create it; what older code writes meanwhile gets the defaults."""
    for name in ("certificate_serial", "certificate_key", "unused_serial", "unused_key"):
        op.add_column("device_devices", sa.Column(name, _TEXT, nullable=False, server_default=""))
    for name in ("certificate_expires", "unused_expires", "suspected_clone"):
        op.add_column("device_devices", sa.Column(name, _TIME, nullable=True))
    op.add_column("device_devices", sa.Column("replaced_serials", sa.JSON, nullable=False, server_default="[]"))
    op.add_column("device_devices", sa.Column("quarantined", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("device_tokens", sa.Column("device_id", _TEXT, nullable=False, server_default=""))
    op.add_column("device_tokens", sa.Column("device_names", sa.JSON, nullable=False, server_default="[]"))
    op.create_table(
        "device_keys",
        sa.Column("key_digest", _TEXT, primary_key=True),
        sa.Column("device_id", _TEXT, primary_key=True),
    )
    op.create_index("device_keys_of", "device_keys", ["device_id"])
    op.create_table(
        "device_tombstones",
        sa.Column("device_id", _TEXT, primary_key=True),
        sa.Column("revision", sa.BigInteger, nullable=False),
    )
    op.create_index("device_tombstones_changed", "device_tombstones", ["revision"])
    op.execute("INSERT INTO device_keys (key_digest, device_id) SELECT key_digest, device_id FROM device_devices")


def downgrade() -> None:
    """Undo it."""
    op.drop_table("device_tombstones")
    op.drop_table("device_keys")
    for table, names in (
        ("device_tokens", ("device_id", "device_names")),
        ("device_devices", ("certificate_serial", "certificate_key", "certificate_expires")),
        ("device_devices", ("unused_serial", "unused_key", "unused_expires")),
        ("device_devices", ("replaced_serials", "suspected_clone", "quarantined")),
    ):
        for name in names:
            op.drop_column(table, name)
