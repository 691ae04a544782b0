"""Select what reports count: from the counts of whole days, and from the events of the parts of days at either end.

- Counts know all that a filter may ask for, by whole days. They answer wherever they can: they reach back further than events,
  and a report must not change its depth with its filter. Only attempts that are asked for by name are counted from events.
- INVARIANT: how it was when a walk over pages began can be told again. Counts go on growing, so what was stored since then is
  taken off: those are few events, found by the number of their transaction.
- Everything is added up by number first: what is joined and compared by text is then as little as possible.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from services._chassis.db import Transaction
from services.reporting.model.reports import Question
from services.reporting.model.rollups import DAY
from services.reporting.store.attempts import conditions, stored_since
from services.reporting.store.dimensions import OWNER
from services.reporting.store.narrowing import Window
from services.reporting.store.sources import EVERY_ONE, Groups, Numbers, Sources
from services.reporting.store.spans import Span
from services.reporting.store.survey import Survey
from services.reporting.store.tables import ATTEMPT

_A = ATTEMPT.c


async def facts(
    tx: Transaction, question: Question, names: Sequence[str], as_of: int | None, *, among: Numbers = EVERY_ONE
) -> sa.Subquery:
    """Select the columns of these names and how many `attempts` have them, in parts that are to be added up.

    Names are those of what attempts are counted by, `day` (since 1970), and the numbers themselves, such as `user_key`, which
    spare joining texts. With `as_of` only what was stored by transactions up to this number counts. With `among` only members
    with these numbers do, of dimensions that are told: so the database sees how few it is asked for, as a subquery hides it.
    """
    return await facts_of(Survey(tx, question), names, as_of, among=among)


async def facts_of(
    survey: Survey, names: Sequence[str], as_of: int | None, *, among: Numbers = EVERY_ONE
) -> sa.Subquery:
    """Select the same of a question about which something was found out already."""
    groups = Groups.of(names)
    found = await _parts(survey, groups, as_of, among)
    grouped = [found.c[name] for name in groups.names]
    total = sa.cast(sa.func.sum(found.c.attempts), sa.BigInteger)
    few = [found.c[dimension.key].in_(numbers) for dimension, numbers in among.items()]
    sums = sa.select(*grouped, total.label("attempts")).where(*few).group_by(*grouped).having(total > 0).subquery()
    source: sa.FromClause = sums
    for dimension in {OWNER[name]: None for name in names if name in OWNER}:
        source = source.join(dimension.table, dimension.table.c[dimension.key] == sums.c[dimension.key])
    columns = [OWNER[name].table.c[name] if name in OWNER else sums.c[name] for name in names]
    return sa.select(*columns, sums.c.attempts).select_from(source).subquery()


async def parts(
    tx: Transaction, question: Question, keys: Sequence[str], as_of: int | None, *, among: Numbers = EVERY_ONE
) -> sa.Subquery:
    """Select these numbers and how many `attempts` have them, for whoever adds them up by fewer of them than are told apart here.

    Some parts take off what others count too much. Those of events tell of members that `among` does not name, too.
    """
    return await _parts(Survey(tx, question), Groups.of(keys), as_of, among)


async def _parts(survey: Survey, groups: Groups, as_of: int | None, among: Numbers) -> sa.Subquery:
    question, span = survey.question, await survey.span()
    sources = await Sources(survey, groups).within(span)
    found = [one for source in sources for one in source.counted(groups, among)]
    found += _events(question, groups, span, as_of)
    if as_of is not None:
        found.append(_since(question, groups, span, as_of))
    return sa.union_all(*found).subquery()


def _events(question: Question, groups: Groups, span: Span, as_of: int | None) -> Iterator[sa.Select[Any]]:
    """Select the events of the parts of days at either end."""
    columns = groups.from_events()
    stored = [] if as_of is None else [_A.stored <= as_of]
    for part in span.beside:
        counted = sa.select(*columns, sa.func.count().label("attempts"))
        yield counted.where(*part.of(_A.occurred), *conditions(question), *stored).group_by(*columns)


def _since(question: Question, groups: Groups, span: Span, as_of: int) -> sa.Select[Any]:
    """Select what was stored after the transaction of this number and is in the counts, to be taken off."""
    # Found by their numbers, whatever else the question asks: an index over a long span of time would be the wrong one.
    taken_off = sa.literal(-1).label("attempts")
    return sa.select(*groups.from_events(), taken_off).where(
        _A.event_id.in_(stored_since(as_of)),
        *Window(span.first * DAY, span.before * DAY).of(_A.occurred),
        *conditions(question),
    )
