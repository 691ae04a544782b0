"""The tables of what is authored and of how far it has come; `migrations` creates what is declared here.

- One table for all kinds of objects: they differ in their content alone, which is the message of the contract.
- Tags stand in a table of their own, so that pages are narrowed by them before they are cut.
- History rows are only ever added: each holds an object as one revision left it.
- A request is a call that was made under an identifier of its caller's, with what it was answered.
- A delivery is one device's row; what was never heard is empty or 0. It names its bundles by their digests.
- An elevation request is one row; `changed` is the revision of its last change, by which watchers go on, and `due` when time
  alone ends its state. Of each use of a grant, and of each outcome that a device is to hear of, there is a row beside it.
- The outbox holds notices until they are told: a row for each, without a channel until it is known who hears of it, then one for each channel.
- A process that holds streams says now and then that it lives, where others share the database.
"""

import sqlalchemy as sa

from services._chassis.audit_store import audit_table
from services._chassis.db import revision_table
from services._chassis.tables import UtcDateTime

METADATA = sa.MetaData()
Text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
"""Text in the order of its code points on both databases: pages continue by comparing it."""

Part = sa.JSON(none_as_null=True)
"""A part that may be absent."""

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

ELEVATION_REQUEST = sa.Table(
    "policy_elevation_request",
    METADATA,
    sa.Column("request_id", Text, primary_key=True),
    sa.Column("device_id", Text, nullable=False),
    sa.Column("device_name", Text, nullable=False),
    sa.Column("requester", Text, nullable=False),
    sa.Column("justification", Text, nullable=False),
    sa.Column("attempt_id", Text, nullable=False),
    sa.Column("submitted", UtcDateTime, nullable=False),
    sa.Column("review_deadline", UtcDateTime, nullable=False),
    sa.Column("platform", Text, nullable=False),
    sa.Column("file", sa.JSON, nullable=False),
    sa.Column("sha256", Text, nullable=False),
    sa.Column("arguments", sa.JSON, nullable=False),
    sa.Column("policy", Text, nullable=False),
    sa.Column("rule", Text, nullable=False),
    sa.Column("scope_tags", sa.JSON, nullable=False),
    sa.Column("life", UtcDateTime, nullable=True),
    sa.Column("state", Text, nullable=False),
    sa.Column("review", Part, nullable=True),
    sa.Column("access", Part, nullable=True),
    sa.Column("ending", Part, nullable=True),
    sa.Column("certificates", sa.JSON, nullable=False),
    sa.Column("evidence", sa.Integer, nullable=False, server_default="0"),
    sa.Column("chain", Text, nullable=False, server_default=""),
    sa.Column("due", UtcDateTime, nullable=True),
    sa.Column("changed", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("device_id", "attempt_id", name="policy_elevation_request_attempt"),
    sa.Index("policy_elevation_request_changed", "changed", "request_id"),
    sa.Index("policy_elevation_request_due", "due"),
    sa.Index("policy_elevation_request_state", "state", "request_id"),
    sa.Index("policy_elevation_request_submitted", "submitted", "request_id"),
    sa.Index("policy_elevation_request_recent", "device_id", "submitted"),
    sa.Index("policy_elevation_request_device", "device_id", "request_id"),
    sa.Index("policy_elevation_request_name", "device_name", "request_id"),
    sa.Index("policy_elevation_request_requester", "requester", "request_id"),
    sa.Index("policy_elevation_request_file", "sha256", "request_id"),
    sa.Index("policy_elevation_request_chain", "chain"),
)

CERTIFICATE_CHAIN = sa.Table(
    "policy_certificate_chain",
    METADATA,
    sa.Column("digest", Text, primary_key=True),
    sa.Column("certificates", sa.JSON, nullable=False),
)

GRANT_USE = sa.Table(
    "policy_grant_use",
    METADATA,
    sa.Column("device_id", Text, primary_key=True),
    sa.Column("attempt_id", Text, primary_key=True),
    sa.Column("grant_id", Text, nullable=False),
    sa.Column("used", UtcDateTime, nullable=False),
    sa.Column("recorded", UtcDateTime, nullable=False),
    sa.Index("policy_grant_use_newest", "grant_id", "used", "attempt_id"),
)

REQUEST_OUTCOME = sa.Table(
    "policy_request_outcome",
    METADATA,
    sa.Column("device_id", Text, primary_key=True),
    sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("request_id", Text, nullable=False),
    sa.Column("state", Text, nullable=False),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Column("kept", sa.Boolean, nullable=False),
    sa.Column("uses", sa.Integer),
    sa.Index("policy_request_outcome_request", "request_id"),
    sa.Index("policy_request_outcome_revision", "revision"),
)

OUTBOX = sa.Table(
    "policy_outbox",
    METADATA,
    sa.Column("notice", Text, primary_key=True),
    sa.Column("channel", Text, primary_key=True),
    sa.Column("event", Text, nullable=False),
    sa.Column("request_id", Text, nullable=False),
    sa.Column("content", sa.JSON, nullable=False),
    sa.Column("due", UtcDateTime, nullable=False),
    sa.Column("lease", Text, nullable=False),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("error", Text, nullable=False),
    sa.Column("given_up", UtcDateTime, nullable=True),
    sa.Index("policy_outbox_due", "channel", "due"),
    sa.Index("policy_outbox_request", "request_id"),
)
