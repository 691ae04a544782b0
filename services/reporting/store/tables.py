"""The tables of the reporting database; `migrations` creates what is declared here.

- One table a kind of event, so that no column is empty by design. Each knows an event twice: by its id and by its place;
  both are unique within the kind, so that no report counts an attempt twice. PostgreSQL keeps attempts by the weeks of their
  ids, where no key but the id can be unique: there the sink alone sees to it that places are.
- A place is (journal_key, seq): journals get a small number of their own, which keeps the widest index narrow.
- What attempts are found and counted by (devices, users, files, decisions, rules) is known once, under a small number; attempts
  and counts hold these numbers. `digest` is what it is found by, since a file's facts are too long for an index. What
  nothing refers to any more is purged: `numbers_forgotten` says how often that was, so that nobody goes on with a number that is gone.
- `body` is the event as its device sent it. A device is known with the name that it had at the time. Scope tags are not: they
  are looked up by device id, in the tables that outlive the directory's entry.
- The indexes by which attempts of users, files and devices are found begin with the day on which they occurred: so what comes in
  is written into few of their pages, and counts tell on which days there is something to be found.
- Counts (rollups) stand beside the events and are kept longer. INVARIANT: whoever has a count on a device stands beside it in
  `reporting_user_device`; some may stand there who have none any more.
- The places of a journal up to `purged_through` that are no gap were here, and were purged or are here still.
- `stored` numbers the transactions that stored events, in the order of their commits: it is the service's revision, whose
  row stays locked until the commit. So whoever has read up to a number has read everything that will ever be there.
"""

from typing import Any

import sqlalchemy as sa

from services._chassis.audit_store import audit_table
from services._chassis.db import revision_table

METADATA = sa.MetaData()
Text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
"""Text in the order of its code points on both databases: pages continue by comparing it."""


def _column(name: str, kind: sa.types.TypeEngine[Any]) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False)


def _texts(*names: str) -> list[sa.Column[Any]]:
    return [_column(name, Text) for name in names]


def _numbers(*names: str) -> list[sa.Column[Any]]:
    return [_column(name, sa.BigInteger()) for name in names]


def _keys(*names: str) -> list[sa.Column[Any]]:
    return [_column(name, sa.Integer()) for name in names]


REVISION = revision_table(METADATA, "reporting")
AUDIT = audit_table(METADATA, "reporting")

JOURNAL = sa.Table(
    "reporting_journal",
    METADATA,
    sa.Column("journal_key", sa.Integer, primary_key=True, autoincrement=True),
    *_texts("device_id", "journal_id"),
    *_numbers("high_water"),
    sa.Column("purged_through", sa.BigInteger, nullable=False, server_default="0"),
    sa.UniqueConstraint("device_id", "journal_id", name="reporting_journal_name"),
)

ATTEMPT = sa.Table(
    "reporting_attempt",
    METADATA,
    sa.Column("journal_key", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    *_texts("event_id", "attempt_id"),
    *_numbers("occurred", "received", "stored"),
    *_keys("day", "device_key", "user_key", "file_key", "decision_key", "rule_key"),
    _column("body", sa.LargeBinary()),
    sa.UniqueConstraint("event_id", name="reporting_attempt_event"),
    sa.Index("reporting_attempt_joined", "attempt_id"),
    sa.Index("reporting_attempt_newest", "occurred", "event_id"),
    sa.Index("reporting_attempt_stored", "stored", "journal_key", "seq"),
    sa.Index("reporting_attempt_user", "day", "user_key"),
    sa.Index("reporting_attempt_file", "day", "file_key", "rule_key", "decision_key"),
    sa.Index("reporting_attempt_device", "day", "device_key", "file_key"),
)

COMPLETION = sa.Table(
    "reporting_completion",
    METADATA,
    sa.Column("journal_key", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    *_texts("event_id", "attempt_id"),
    *_numbers("occurred"),
    _column("exit_code", sa.Integer()),
    _column("body", sa.LargeBinary()),
    *_texts("device_id", "device_name"),
    *_numbers("received"),
    sa.Column("stored", sa.BigInteger, nullable=False, server_default="0"),
    sa.UniqueConstraint("event_id", name="reporting_completion_event"),
    sa.Index("reporting_completion_joined", "attempt_id"),
    sa.Index("reporting_completion_oldest", "occurred"),
    sa.Index("reporting_completion_stored", "stored"),
)

DIAGNOSTIC = sa.Table(
    "reporting_diagnostic",
    METADATA,
    sa.Column("journal_key", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    *_texts("event_id"),
    *_numbers("occurred"),
    *_texts("code", "message"),
    *_numbers("event_count", "first_seq", "last_seq"),
    _column("body", sa.LargeBinary()),
    *_texts("device_id", "device_name"),
    *_numbers("received"),
    sa.Column("stored", sa.BigInteger, nullable=False, server_default="0"),
    sa.UniqueConstraint("event_id", name="reporting_diagnostic_event"),
    sa.Index("reporting_diagnostic_oldest", "occurred"),
    sa.Index("reporting_diagnostic_stored", "stored"),
    sa.Index("reporting_diagnostic_newest", "received", "event_id"),
    sa.Index("reporting_diagnostic_code", "code", "received", "event_id"),
)

GAP = sa.Table(
    "reporting_gap",
    METADATA,
    sa.Column("journal_key", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("first_seq", sa.BigInteger, primary_key=True, autoincrement=False),
    *_numbers("last_seq", "noticed"),
    sa.Index("reporting_gap_newest", "noticed", "journal_key", "first_seq"),
)

DEAD_LETTER = sa.Table(
    "reporting_dead_letter",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    *_texts("device_id", "journal_id"),
    *_numbers("seq"),
    *_texts("digest"),
    *_numbers("received"),
    *_texts("reason"),
    _column("body", sa.LargeBinary()),
    sa.UniqueConstraint("device_id", "journal_id", "seq", "digest", name="reporting_dead_letter_once"),
    sa.Index("reporting_dead_letter_newest", "received", "id"),
)

DEVICE_TAG = sa.Table(
    "reporting_device_tag",
    METADATA,
    sa.Column("device_id", Text, primary_key=True),
    sa.Column("tag", Text, primary_key=True),
)

CONSUMER = sa.Table(
    "reporting_consumer",
    METADATA,
    sa.Column("principal", Text, primary_key=True),
    sa.Column("name", Text, primary_key=True),
    *_numbers("position", "journal_key", "seq"),
    sa.Column("generation", sa.BigInteger, nullable=False, server_default="0"),
)


def _known(name: str, *columns: sa.Column[Any]) -> sa.Table:
    return sa.Table(
        f"reporting_known_{name}",
        METADATA,
        sa.Column(f"{name}_key", sa.Integer, primary_key=True, autoincrement=True),
        *_texts("digest"),
        *columns,
        sa.UniqueConstraint("digest", name=f"reporting_known_{name}_digest"),
    )


def _counts(name: str, *keys: str) -> sa.Table:
    primary = [sa.Column(key, sa.Integer, primary_key=True, autoincrement=False) for key in ("span", "start", *keys)]
    return sa.Table(
        name,
        METADATA,
        *primary,
        *_numbers("attempts"),
        sqlite_with_rowid=False,
        # Room on every page: a count that grows stays where it is, and its index as it is.
        postgresql_with={"fillfactor": 70},
    )


KNOWN_DEVICE = _known("device", *_texts("device_id", "device_name"))
KNOWN_USER = _known("user", *_texts("user_name"))
KNOWN_FILE = _known("file", *_texts("file_name", "internal_name", "version", "company_name", "sha256", "publisher"))
KNOWN_DECISION = _known(
    "decision",
    *_texts("elevation_type", "result", "source"),
    _column("managed", sa.Boolean()),
    sa.Column("administrator", sa.Boolean(), nullable=False, server_default=sa.false()),
)
KNOWN_RULE = _known("rule", *_texts("policy", "rule"))

COUNT = _counts("reporting_count", "user_key", "file_key", "decision_key", "rule_key", "device_key")
COUNT_BY_FILE = _counts("reporting_count_by_file", "file_key", "rule_key", "decision_key")
COUNT_BY_USER = _counts("reporting_count_by_user", "user_key", "decision_key")
COUNT_BY_RULE = _counts("reporting_count_by_rule", "rule_key", "decision_key")
COUNT_BY_DECISION = _counts("reporting_count_by_decision", "decision_key")
COUNT_BY_DEVICE = _counts("reporting_count_by_device", "device_key", "decision_key")
COUNT_UNMANAGED = _counts("reporting_count_unmanaged", "user_key", "file_key", "device_key")
"""Of unmanaged attempts alone."""

COUNT_BY_DEVICE_FILE = _counts("reporting_count_by_device_file", "device_key", "file_key", "rule_key", "decision_key")
"""Made when a span is closed; what stands here of a span that is not is left over, or not done."""

OBSTACLE_SETS = sa.Table(
    "reporting_obstacle_sets",
    METADATA,
    *(sa.Column(key, sa.Integer, primary_key=True, autoincrement=False) for key in ("span", "start")),
    *(_column(name, sa.LargeBinary()) for name in ("users", "devices")),
    *_texts("digest"),
)
"""Made when a span is closed: of each file, which users and which devices had unmanaged attempts of it. What is remembered of it
is known by the digest."""

OBSTACLE_LATE = sa.Table(
    "reporting_obstacle_late",
    METADATA,
    *(
        sa.Column(key, sa.Integer, primary_key=True, autoincrement=False)
        for key in ("span", "start", "file_key", "user_key", "device_key")
    ),
    sqlite_with_rowid=False,
)
"""What came late, and is not in the sets of its span yet."""

USER_DEVICE = sa.Table(
    "reporting_user_device",
    METADATA,
    *(sa.Column(key, sa.Integer, primary_key=True, autoincrement=False) for key in ("user_key", "device_key")),
    sa.Index("reporting_user_device_of_devices", "device_key", "user_key"),
    sqlite_with_rowid=False,
)
"""Who was on which device, ever."""

HORIZON = sa.Table(
    "reporting_horizon",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    *_numbers("counts_before"),
    sa.Column("numbers_forgotten", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("closed_before", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("closings", sa.BigInteger, nullable=False, server_default="0"),
)
"""One row: the day up to which counts are gone, or about to go; how often numbers of what attempts are counted by went; the day up
to which all days are closed; and how often a closing was begun."""
