"""The tables of what is authored and of how far it has come; `migrations` creates what is declared here.

- One table for all kinds of objects: they differ in their content alone, which is the message of the contract.
- Tags stand in a table of their own, so that pages are narrowed by them before they are cut.
- History rows are only ever added: each holds an object as one revision left it.
- A request is a call that was made under an identifier of its caller's, with what it was answered.
- A delivery is one device's row; what was never heard is empty or 0. It names its bundles by their digests.
- A process that holds streams says now and then that it lives, where others share the database.
"""

import sqlalchemy as sa

from services._chassis.audit_store import audit_table
from services._chassis.db import revision_table
from services._chassis.tables import UtcDateTime

METADATA = sa.MetaData()
Text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
"""Text in the order of its code points on both databases: pages continue by comparing it."""

REVISION = revision_table(METADATA, "policy")
AUDIT = audit_table(METADATA, "policy")

OBJECT = sa.Table(
    "policy_object",
    METADATA,
    sa.Column("kind", Text, primary_key=True),
    sa.Column("name", Text, primary_key=True),
    sa.Column("content", sa.LargeBinary, nullable=False),
    sa.Column("labels", sa.JSON, nullable=False),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Column("etag", Text, nullable=False),
    sa.Column("created", UtcDateTime, nullable=False),
    sa.Column("updated", UtcDateTime, nullable=False),
    sa.Column("updated_by", Text, nullable=False),
    sa.Column("created_by", Text, nullable=False),
    sa.Column("applied_change", sa.BigInteger, nullable=False),
)

OBJECT_TAG = sa.Table(
    "policy_object_tag",
    METADATA,
    sa.Column("kind", Text, primary_key=True),
    sa.Column("name", Text, primary_key=True),
    sa.Column("tag", Text, primary_key=True),
)

HISTORY = sa.Table(
    "policy_history",
    METADATA,
    sa.Column("kind", Text, primary_key=True),
    sa.Column("name", Text, primary_key=True),
    sa.Column("revision", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("action", Text, nullable=False),
    sa.Column("content", sa.LargeBinary, nullable=False),
    sa.Column("labels", sa.JSON, nullable=False),
    sa.Column("scope_tags", sa.JSON, nullable=False),
    sa.Column("recorded", UtcDateTime, nullable=False),
    sa.Column("actor", Text, nullable=False),
    sa.Column("reason", Text, nullable=False),
    sa.Column("created_by", Text, nullable=False),
    sa.Column("content_revision", sa.BigInteger, nullable=False),
    sa.Column("rolled_back_to", sa.BigInteger, nullable=False),
    sa.Column("as_code", sa.Boolean, nullable=False),
    sa.Column("created", UtcDateTime, nullable=True),
)

REQUEST = sa.Table(
    "policy_request",
    METADATA,
    sa.Column("principal", Text, primary_key=True),
    sa.Column("request_id", Text, primary_key=True),
    sa.Column("digest", sa.LargeBinary, nullable=False),
    sa.Column("answer", sa.LargeBinary, nullable=False),
    sa.Column("recorded", UtcDateTime, nullable=False),
    sa.Index("policy_request_recorded", "recorded"),
)

DELIVERY = sa.Table(
    "policy_delivery",
    METADATA,
    sa.Column("device_id", Text, primary_key=True),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Column("sha256", sa.LargeBinary, nullable=False),
    sa.Column("desired", Text, nullable=False),
    sa.Column("offered", UtcDateTime, nullable=True),
    sa.Column("applied_revision", sa.BigInteger, nullable=False),
    sa.Column("applied_desired", Text, nullable=False),
    sa.Column("rejected_revision", sa.BigInteger, nullable=False),
    sa.Column("rejections", sa.JSON, nullable=False),
    sa.Column("confirmed", UtcDateTime, nullable=True),
    sa.Column("lost", UtcDateTime, nullable=True),
    sa.Column("stream", Text, nullable=False),
    sa.Column("seen", UtcDateTime, nullable=True),
    sa.Column("runs", sa.JSON, nullable=False),
    sa.Column("key_ids", sa.JSON, nullable=False),
    sa.Column("bundle", sa.LargeBinary, nullable=True),
    sa.Column("applied_bundle", sa.LargeBinary, nullable=True),
    sa.Column("put_off", UtcDateTime, nullable=True),
    sa.Column("life", UtcDateTime, nullable=True),
)

PROCESS = sa.Table(
    "policy_process",
    METADATA,
    sa.Column("process", Text, primary_key=True),
    sa.Column("seen", UtcDateTime, nullable=False),
)

BUNDLE = sa.Table(
    "policy_bundle",
    METADATA,
    sa.Column("digest", sa.LargeBinary, primary_key=True),
    sa.Column("contents", sa.Text, nullable=False),
)
