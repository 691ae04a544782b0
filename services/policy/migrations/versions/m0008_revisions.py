"""Keep why and as what each revision was made, who made each object, and which calls were made already. Reversible."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_TIME = sa.DateTime(timezone=True)
_TEXTS = ("reason", "created_by")
_NUMBERS = ("content_revision", "rolled_back_to")


def upgrade() -> None:
    """Add them; of what was there before, history tells who made it and when, and nobody told a reason."""
    for name in _TEXTS:
        op.add_column("policy_history", sa.Column(name, _TEXT, nullable=False, server_default=""))
    for name in _NUMBERS:
        op.add_column("policy_history", sa.Column(name, sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("policy_history", sa.Column("as_code", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("policy_history", sa.Column("created", _TIME, nullable=True))
    op.add_column("policy_object", sa.Column("created_by", _TEXT, nullable=False, server_default=""))
    op.add_column("policy_object", sa.Column("applied_change", sa.BigInteger, nullable=False, server_default="0"))
    _tell_who_created()
    _create_requests()


def downgrade() -> None:
    """Undo it."""
    op.drop_table("policy_request")
    with op.batch_alter_table("policy_object") as table:
        table.drop_column("applied_change")
        table.drop_column("created_by")
    with op.batch_alter_table("policy_history") as table:
        for name in ("created", "as_code", *_NUMBERS, *_TEXTS):
            table.drop_column(name)


def _tell_who_created() -> None:
    names = ("kind", "name", "revision", "action", "recorded", "actor", "created", "created_by")
    history = sa.table("policy_history", *map(sa.column, names))
    objects = sa.table("policy_object", *map(sa.column, ("kind", "name", "created_by")))
    made = history.alias("made")

    def first(told: str, *, of: sa.TableClause) -> sa.ScalarSelect[object]:
        """Return what the newest creation of the object tells: a name that was deleted can be used again."""
        asked = sa.select(made.c[told]).where(made.c.kind == of.c.kind, made.c.name == of.c.name)
        if of is history:
            asked = asked.where(made.c.revision <= history.c.revision)
        asked = asked.where(made.c.action == "created").order_by(made.c.revision.desc()).limit(1)
        return asked.correlate(of).scalar_subquery()

    author, objects_author = first("actor", of=history), first("actor", of=objects)
    op.execute(
        sa.update(history).values(created=first("recorded", of=history), created_by=sa.func.coalesce(author, ""))
    )
    op.execute(sa.update(objects).values(created_by=sa.func.coalesce(objects_author, "")))


def _create_requests() -> None:
    op.create_table(
        "policy_request",
        sa.Column("principal", _TEXT, primary_key=True),
        sa.Column("request_id", _TEXT, primary_key=True),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("answer", sa.LargeBinary, nullable=False),
        sa.Column("recorded", _TIME, nullable=False),
    )
    op.create_index("policy_request_recorded", "policy_request", ["recorded"])
