"""Create the tables of the device service. Reversible."""

import sqlalchemy as sa
from alembic import op

revision = "device_0001"
down_revision = None
branch_labels = None
depends_on = None

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_TIME = sa.DateTime(timezone=True)
_TABLES = ("scope_tags", "groups", "tokens", "devices", "audit", "revision")


def upgrade() -> None:
    revisions = op.create_table(
        "device_revision",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("value", sa.BigInteger, nullable=False),
    )
    op.bulk_insert(revisions, [{"id": 1, "value": 0}])
    _create_audit()
    _create_devices()
    _create_tokens()
    _create_groups()
    op.create_table(
        "device_scope_tags",
        sa.Column("tag", _TEXT, primary_key=True),
        sa.Column("of", _TEXT, primary_key=True),
        sa.Column("key", _TEXT, primary_key=True),
    )
    op.create_index("device_scope_tags_of", "device_scope_tags", ["of", "key"])


def downgrade() -> None:
    for table in _TABLES:
        op.drop_table(f"device_{table}")


def _create_audit() -> None:
    op.create_table(
        "device_audit",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("recorded", _TIME, nullable=False),
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
    op.create_index("ix_device_audit_recorded", "device_audit", ["recorded"])


def _create_devices() -> None:
    op.create_table(
        "device_devices",
        sa.Column("device_id", _TEXT, primary_key=True),
        *_texts("name"),
        sa.Column("enrolled_name", _TEXT, nullable=True, unique=True),
        *_texts("enrolment", "os", "os_version", "architecture", "agent_version"),
        *_lists("reported_users", "users", "tags"),
        *_texts("ownership"),
        *_lists("scope_tags"),
        *_texts("token_id", "key_digest"),
        sa.Column("allow_reported_users", sa.Boolean, nullable=False),
        sa.Column("enrolled", _TIME, nullable=False),
        *_texts("epm_state", "desired"),
        sa.Column("deprovision_time", _TIME, nullable=True),
        sa.Column("policy_revision", sa.BigInteger, nullable=False),
        sa.Column("last_check_in", _TIME, nullable=True),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
    )
    op.create_index("device_devices_by_name", "device_devices", ["name", "device_id"])
    op.create_index("device_devices_origin", "device_devices", ["token_id", "key_digest"])
    op.create_index("device_devices_due", "device_devices", ["epm_state", "deprovision_time"])
    op.create_index("device_devices_changed", "device_devices", ["revision"])


def _create_tokens() -> None:
    op.create_table(
        "device_tokens",
        sa.Column("token_id", _TEXT, primary_key=True),
        sa.Column("digest", sa.LargeBinary, nullable=False, unique=True),
        *_texts("description"),
        sa.Column("quota", sa.Integer, nullable=False),
        sa.Column("used", sa.Integer, nullable=False),
        sa.Column("created", _TIME, nullable=False),
        sa.Column("expires", _TIME, nullable=False),
        sa.Column("revoked", _TIME, nullable=True),
        sa.Column("allow_reported_users", sa.Boolean, nullable=False),
        *_lists("users", "groups", "tags", "scope_tags"),
    )


def _create_groups() -> None:
    op.create_table(
        "device_groups",
        sa.Column("name", _TEXT, primary_key=True),
        *_texts("type", "filter", "description"),
        *_lists("members", "scope_tags"),
        sa.Column("deleted", sa.Boolean, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
    )
    op.create_index("device_groups_changed", "device_groups", ["revision"])


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, _TEXT, nullable=False) for name in names]


def _lists(*names: str) -> list[sa.Column[list[str]]]:
    return [sa.Column(name, sa.JSON, nullable=False) for name in names]
