"""Tell how users and devices are split by what attempts they had: whether there was any, not how many.

Where there are more attempts than users, each user is looked up: the first count that is found settles it, and most are found
at once. Where there are few attempts, or the question is about more than users and decisions, counts are added up instead. So it is for
users who were on other devices than those that a question is about; those who were on none are looked up.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from services.reporting.model.readiness import Split
from services.reporting.model.rollups import Run
from services.reporting.store.counted import facts_of
from services.reporting.store.dimensions import DECISION, DEVICE, Dimension
from services.reporting.store.listed import one_of
from services.reporting.store.rollups import ROLLUPS, Rollup
from services.reporting.store.sources import EVERY_ONE, Numbers
from services.reporting.store.survey import Survey
from services.reporting.store.tables import KNOWN_DECISION

_HAD = {"managed": True, "unmanaged": False}


@dataclass(frozen=True, slots=True)
class _Looks:
    """Looks for counts of each subject: in which counts, and in which of their spans, the longest first."""

    subject: Dimension
    rollup: Rollup
    runs: Sequence[Run]
    there: Sequence[int] | None = None
    """The numbers of those who are looked up; None: all, or those to whom a question is narrowed, but for `others`."""
    others: Sequence[int] = ()
    elsewhere_too: Sequence[int] = ()
    """The numbers of those for whom it cannot be told so."""

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


async def split(survey: Survey, subject: Dimension, attempts: int) -> Split:
    """Split users or devices; so many attempts is the question about."""
    looks = await _looks(survey, subject)
    if looks is not None and await _known(survey, looks) * looks.most < attempts:
        had = _looked_up(survey, looks, await _decisions(survey))
        if looks.elsewhere_too:
            others = await _added_up(survey, subject, among={subject: looks.elsewhere_too})
            had = sa.union_all(sa.select(had), sa.select(others)).subquery()
    else:
        had = await _added_up(survey, subject)
    counted = sa.select(had.c.managed, had.c.unmanaged, sa.func.count().label("count"))
    rows = (await survey.tx.execute(counted.group_by(had.c.managed, had.c.unmanaged))).mappings()
    counts = {(bool(row["managed"]), bool(row["unmanaged"])): row["count"] for row in rows}
    return Split(
        managed_only=counts.get((True, False), 0),
        both=counts.get((True, True), 0),
        unmanaged_only=counts.get((False, True), 0),
    )


async def _looks(survey: Survey, subject: Dimension) -> _Looks | None:
    """Return where to look; None where counts by subject and decision cannot answer alone."""
    plain = next(rollup for rollup in ROLLUPS if rollup.dimensions == (subject, DECISION))
    span, wanted = await survey.span(), survey.members
    left = wanted.keys() - set(plain.dimensions)
    found = None
    if left == {DEVICE} and not span.beside:
        found = await survey.users(asked=not await survey.others_tell())
    if span.beside or (left and found is None):
        return None
    runs = sorted(span.runs(plain.spans), key=lambda run: -run.span)
    if found is None:
        return _Looks(subject, plain, runs)
    if await survey.others_tell():
        # Whoever was on none of the other devices was on these alone, if anywhere.
        return _Looks(subject, plain, runs, None, [*found.there, *found.elsewhere_too], found.elsewhere_too)
    return _Looks(subject, plain, runs, found.there, (), found.elsewhere_too)


async def _known(survey: Survey, looks: _Looks) -> int:
    if looks.there is not None:
        return len(looks.there)
    return int((await survey.tx.execute(sa.select(sa.func.count()).select_from(looks.subject.table))).scalar_one())


async def _decisions(survey: Survey) -> Mapping[str, Sequence[int]]:
    """Return the decisions that the question is about: those that were managed, and the others."""
    wanted = survey.members.get(DECISION)
    known = sa.select(KNOWN_DECISION.c.decision_key, KNOWN_DECISION.c.managed)
    if wanted is not None:
        known = known.where(KNOWN_DECISION.c.decision_key.in_(wanted))
    rows = (await survey.tx.execute(known)).mappings().all()
    return {kind: [row["decision_key"] for row in rows if row["managed"] is wanted] for kind, wanted in _HAD.items()}


def _looked_up(survey: Survey, looks: _Looks, decisions: Mapping[str, Sequence[int]]) -> sa.Subquery:
    known = looks.subject.table.c
    had = (looks.find(keys).label(kind) for kind, keys in decisions.items())
    each = sa.select(known[looks.subject.columns[0]].label("identity"), *had)
    if looks.there is not None:
        each = each.where(one_of(known[looks.subject.key], looks.there))
    elif (wanted := survey.members.get(looks.subject)) is not None:
        each = each.where(known[looks.subject.key].in_(wanted))
    if looks.others:
        each = each.where(sa.not_(one_of(known[looks.subject.key], looks.others)))
    found = each.subquery()
    kinds = (sa.func.max(sa.case((found.c[kind], 1), else_=0)).label(kind) for kind in _HAD)
    return sa.select(*kinds).group_by(found.c.identity).subquery()


async def _added_up(survey: Survey, subject: Dimension, *, among: Numbers = EVERY_ONE) -> sa.Subquery:
    name = subject.columns[0]
    found = await facts_of(survey, (name, "managed"), None, among=among)
    kinds = (
        sa.func.max(sa.case((found.c.managed.is_(managed), 1), else_=0)).label(kind) for kind, managed in _HAD.items()
    )
    return sa.select(*kinds).group_by(found.c[name]).subquery()
