"""Create the tables of events, of what went wrong with them, and of who may see them."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_TABLES = ("device_tag", "dead_letter", "gap", "diagnostic", "completion", "attempt", "journal", "revision")


def upgrade() -> None:
    """Create everything."""
    _create_revision()
    _create_journal()
    _create_attempt()
    _create_completion()
    _create_diagnostic()
    _create_losses()
    op.create_table(
        "reporting_device_tag",
        sa.Column("device_id", _TEXT, primary_key=True),
        sa.Column("tag", _TEXT, primary_key=True),
    )


def downgrade() -> None:
    """Drop everything, events included."""
    for table in _TABLES:
        op.drop_table(f"reporting_{table}")


def _create_revision() -> None:
    op.create_table(
        "reporting_revision",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
    )
    op.execute("INSERT INTO reporting_revision (id, value) VALUES (1, 0)")


def _create_journal() -> None:
    op.create_table(
        "reporting_journal",
        sa.Column("journal_key", sa.Integer(), primary_key=True, autoincrement=True),
        *_texts("device_id", "journal_id"),
        *_numbers("high_water"),
        sa.UniqueConstraint("device_id", "journal_id", name="reporting_journal_name"),
    )


def _create_attempt() -> None:
    op.create_table(
        "reporting_attempt",
        *_place("seq"),
        *_texts("event_id", "attempt_id"),
        *_numbers("occurred"),
        *_texts("user_name", "trigger", "outcome", "source"),
        sa.Column("managed", sa.Boolean(), nullable=False),
        *_texts("elevation_type", "policy", "rule", "result"),
        *_texts("file_name", "internal_name", "version", "company_name", "sha256", "publisher"),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        *_texts("device_id", "device_name"),
        *_numbers("received"),
        sa.UniqueConstraint("event_id", name="reporting_attempt_event"),
    )
    op.create_index("reporting_attempt_joined", "reporting_attempt", ["attempt_id"])
    op.create_index("reporting_attempt_newest", "reporting_attempt", ["occurred", "event_id"])


def _create_completion() -> None:
    op.create_table(
        "reporting_completion",
        *_place("seq"),
        *_texts("event_id", "attempt_id"),
        *_numbers("occurred"),
        sa.Column("exit_code", sa.Integer(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        *_texts("device_id", "device_name"),
        *_numbers("received"),
        sa.UniqueConstraint("event_id", name="reporting_completion_event"),
    )
    op.create_index("reporting_completion_joined", "reporting_completion", ["attempt_id"])


def _create_diagnostic() -> None:
    op.create_table(
        "reporting_diagnostic",
        *_place("seq"),
        *_texts("event_id"),
        *_numbers("occurred"),
        *_texts("code", "message"),
        *_numbers("event_count", "first_seq", "last_seq"),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        *_texts("device_id", "device_name"),
        *_numbers("received"),
        sa.UniqueConstraint("event_id", name="reporting_diagnostic_event"),
    )


def _create_losses() -> None:
    op.create_table("reporting_gap", *_place("first_seq"), *_numbers("last_seq", "noticed"))
    op.create_table(
        "reporting_dead_letter",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=True),
        *_texts("device_id", "journal_id"),
        *_numbers("seq"),
        *_texts("digest"),
        *_numbers("received"),
        *_texts("reason"),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.UniqueConstraint("device_id", "journal_id", "seq", "digest", name="reporting_dead_letter_once"),
    )


def _place(number: str) -> list[sa.Column[int]]:
    return [
        sa.Column("journal_key", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column(number, sa.BigInteger(), primary_key=True, autoincrement=False),
    ]


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, _TEXT, nullable=False) for name in names]


def _numbers(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.BigInteger(), nullable=False) for name in names]
