"""Tell how users and devices are split by what attempts they had: whether there was any, not how many.

Where there are more attempts than users, each user is looked up: the first count that is found settles it, and most are found
at once. Where there are few attempts, or the question is about more than users and decisions, counts are added up instead.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from services._chassis.db import Transaction
from services.reporting.model.readiness import Split
from services.reporting.model.reports import Question
from services.reporting.model.rollups import Run
from services.reporting.store.counted import facts
from services.reporting.store.dimensions import DECISION, Dimension
from services.reporting.store.narrowing import members
from services.reporting.store.rollups import ROLLUPS, Rollup
from services.reporting.store.spans import span_of
from services.reporting.store.tables import KNOWN_DECISION

_HAD = {"managed": True, "unmanaged": False}


@dataclass(frozen=True, slots=True)
class _Looks:
    """Looks for counts of each subject: in which counts, and in which of their spans, the longest first."""

    subject: Dimension
    rollup: Rollup
    runs: Sequence[Run]

    @property
    def most(self) -> int:
        """Return how many it takes for one subject at most."""
        return sum(len(range(run.first, run.before, run.span)) for run in self.runs)

    def find(self, decisions: Sequence[int]) -> sa.ColumnElement[bool]:
        """Return whether there is a count of the subject with one of the decisions."""
        known, table = self.subject.table, self.rollup.table
        looks = []
        for run in self.runs:
            counts = table.alias().c
            start = counts.start.in_(range(run.first, run.before, run.span))
            mine = (counts[self.subject.key] == known.c[self.subject.key], counts[DECISION.key].in_(decisions))
            look = sa.select(counts.attempts).where(counts.span == run.span, start, *mine).correlate(known)
            # One value, for an EXISTS is taken by PostgreSQL as leave to read all counts into a table of its own.
            looks.append(look.limit(1).scalar_subquery().is_not(None))
        return sa.or_(sa.false(), *looks)


async def split(tx: Transaction, question: Question, subject: Dimension, attempts: int) -> Split:
    """Split users or devices; so many attempts is the question about."""
    looks = await _looks(tx, question, subject)
    if looks is not None and await _known(tx, subject) * looks.most < attempts:
        had = _looked_up(question, looks, await _decisions(tx, question))
    else:
        had = await _added_up(tx, question, subject)
    counted = sa.select(had.c.managed, had.c.unmanaged, sa.func.count().label("count"))
    rows = (await tx.execute(counted.group_by(had.c.managed, had.c.unmanaged))).mappings()
    counts = {(bool(row["managed"]), bool(row["unmanaged"])): row["count"] for row in rows}
    return Split(
        managed_only=counts.get((True, False), 0),
        both=counts.get((True, True), 0),
        unmanaged_only=counts.get((False, True), 0),
    )


async def _looks(tx: Transaction, question: Question, subject: Dimension) -> _Looks | None:
    """Return where to look; None where counts by subject and decision cannot answer alone."""
    plain = next(rollup for rollup in ROLLUPS if rollup.dimensions == (subject, DECISION))
    span = await span_of(tx, question)
    if span.beside or not members(question).keys() <= set(plain.dimensions):
        return None
    runs = span.runs(plain.spans)
    return _Looks(subject, plain, sorted(runs, key=lambda run: -run.span))


async def _known(tx: Transaction, subject: Dimension) -> int:
    return int((await tx.execute(sa.select(sa.func.count()).select_from(subject.table))).scalar_one())


async def _decisions(tx: Transaction, question: Question) -> Mapping[str, Sequence[int]]:
    """Return the decisions that the question is about: those that were managed, and the others."""
    wanted = members(question).get(DECISION)
    known = sa.select(KNOWN_DECISION.c.decision_key, KNOWN_DECISION.c.managed)
    if wanted is not None:
        known = known.where(KNOWN_DECISION.c.decision_key.in_(wanted))
    rows = (await tx.execute(known)).mappings().all()
    return {kind: [row["decision_key"] for row in rows if row["managed"] is wanted] for kind, wanted in _HAD.items()}


def _looked_up(question: Question, looks: _Looks, decisions: Mapping[str, Sequence[int]]) -> sa.Subquery:
    known = looks.subject.table.c
    had = (looks.find(keys).label(kind) for kind, keys in decisions.items())
    each = sa.select(known[looks.subject.columns[0]].label("identity"), *had)
    if (wanted := members(question).get(looks.subject)) is not None:
        each = each.where(known[looks.subject.key].in_(wanted))
    found = each.subquery()
    kinds = (sa.func.max(sa.case((found.c[kind], 1), else_=0)).label(kind) for kind in _HAD)
    return sa.select(*kinds).group_by(found.c.identity).subquery()


async def _added_up(tx: Transaction, question: Question, subject: Dimension) -> sa.Subquery:
    name = subject.columns[0]
    found = await facts(tx, question, (name, "managed"), None)
    kinds = (
        sa.func.max(sa.case((found.c.managed.is_(managed), 1), else_=0)).label(kind) for kind, managed in _HAD.items()
    )
    return sa.select(*kinds).group_by(found.c[name]).subquery()
