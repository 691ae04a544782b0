"""The tables of the device service; `migrations` creates what is declared here.

- `enrolled_name` is the name of an enrolled device and NULL of any other, so that it can be unique.
- A device that has no certificate which is known has an empty `certificate_serial`; the same goes for `unused_serial`.
- A device of which no reporting scope was told has an empty one; `reported_until` is a map from scopes to times.
- Keys are all that a device ever had. A device that was deleted leaves a tombstone and nothing else.
- Scope tags stand beside their objects in a table of their own, where pages narrow by them; what has none carries `default`.
- Links say who is named by what, for questions that begin at the name: users of devices (`bound`, `reported`), members of
  groups (`user`, `device`) and groups in groups (`nested`). They follow from the rows of devices and groups.
- The groups that policies are assigned to are told as a whole and kept as one row.
"""

from typing import Any

import sqlalchemy as sa

from services._chassis.audit_store import ORDER, audit_table
from services._chassis.db import revision_table
from services._chassis.tables import UtcDateTime

METADATA = sa.MetaData()
Text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
"""Text in the order of its code points on both databases: pages continue by comparing it."""


def _texts(*names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, Text, nullable=False) for name in names]


def _lists(*names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.JSON, nullable=False) for name in names]


REVISION = revision_table(METADATA, "device")
AUDIT = audit_table(METADATA, "device")
DEVICES = sa.Table(
    "device_devices",
    METADATA,
    sa.Column("device_id", Text, primary_key=True),
    *_texts("name"),
    sa.Column("enrolled_name", Text, nullable=True, unique=True),
    *_texts("enrolment", "os", "os_version", "architecture", "agent_version"),
    *_lists("reported_users", "users", "tags"),
    *_texts("ownership"),
    *_lists("scope_tags"),
    *_texts("token_id", "key_digest"),
    sa.Column("allow_reported_users", sa.Boolean, nullable=False),
    *_texts("certificate_serial", "certificate_key", "unused_serial", "unused_key"),
    sa.Column("certificate_expires", UtcDateTime, nullable=True),
    sa.Column("unused_expires", UtcDateTime, nullable=True),
    *_lists("replaced_serials", "ended_serials"),
    sa.Column("suspected_clone", UtcDateTime, nullable=True),
    sa.Column("quarantined", sa.Boolean, nullable=False),
    sa.Column("enrolled", UtcDateTime, nullable=False),
    *_texts("epm_state", "desired"),
    sa.Column("deprovision_time", UtcDateTime, nullable=True),
    sa.Column("policy_lost", UtcDateTime, nullable=True),
    sa.Column("policy_revision", sa.BigInteger, nullable=False),
    *_texts("reporting_scope"),
    *_lists("reported_until"),
    sa.Column("last_check_in", UtcDateTime, nullable=True),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Index("device_devices_by_name", "name", "device_id"),
    sa.Index("device_devices_origin", "token_id", "key_digest"),
    sa.Index("device_devices_due", "epm_state", "deprovision_time"),
    sa.Index("device_devices_changed", "revision"),
    sa.Index("device_devices_heard", "policy_revision"),
)
TOKENS = sa.Table(
    "device_tokens",
    METADATA,
    sa.Column("token_id", Text, primary_key=True),
    sa.Column("digest", sa.LargeBinary, nullable=False, unique=True),
    *_texts("description"),
    sa.Column("quota", sa.Integer, nullable=False),
    sa.Column("used", sa.Integer, nullable=False),
    sa.Column("created", UtcDateTime, nullable=False),
    sa.Column("expires", UtcDateTime, nullable=False),
    sa.Column("revoked", UtcDateTime, nullable=True),
    sa.Column("allow_reported_users", sa.Boolean, nullable=False),
    *_lists("users", "groups", "tags", "scope_tags"),
    *_texts("device_id"),
    *_lists("device_names"),
)
KEYS = sa.Table(
    "device_keys",
    METADATA,
    sa.Column("key_digest", Text, primary_key=True),
    sa.Column("device_id", Text, primary_key=True),
    sa.Index("device_keys_of", "device_id"),
)
TOMBSTONES = sa.Table(
    "device_tombstones",
    METADATA,
    sa.Column("device_id", Text, primary_key=True),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Index("device_tombstones_changed", "revision"),
)
GROUPS = sa.Table(
    "device_groups",
    METADATA,
    sa.Column("name", Text, primary_key=True),
    *_texts("type", "filter", "description"),
    *_lists("members", "scope_tags", "groups"),
    sa.Column("deleted", sa.Boolean, nullable=False),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Index("device_groups_changed", "revision"),
)
USED_GROUPS = sa.Table(
    "device_used_groups",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("revision", sa.BigInteger, nullable=False),
    *_lists("groups"),
)
HISTORY = sa.Table(
    "device_history",
    METADATA,
    sa.Column("id", ORDER, primary_key=True, autoincrement=True),
    *_texts("device_id"),
    sa.Column("at", UtcDateTime, nullable=False),
    *_texts("kind", "before", "after", "reason", "actor"),
    sa.Index("device_history_of", "device_id", "id"),
)
LINKS = sa.Table(
    "device_links",
    METADATA,
    sa.Column("kind", Text, primary_key=True),
    sa.Column("name", Text, primary_key=True),
    sa.Column("of", Text, primary_key=True),
    sa.Index("device_links_of", "of", "kind"),
)
SCOPE_TAGS = sa.Table(
    "device_scope_tags",
    METADATA,
    sa.Column("tag", Text, primary_key=True),
    sa.Column("of", Text, primary_key=True),
    sa.Column("key", Text, primary_key=True),
    sa.Index("device_scope_tags_of", "of", "key"),
)
