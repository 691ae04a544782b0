"""Count attempts in the transaction that stores them, so that reports need not read them again.

- What attempts are counted by (devices, users, files, decisions) is known once, under a number of its own; counts are rows
  of numbers alone. The numbers are cached, and forgotten with a transaction that fails.
- Only the writing transaction knows which of its events were new. Where all were, they are counted as they are; otherwise
  those that bear its number are read again.
- Who may see a count depends on the tags that devices have today: so the full counts keep the device. The others do
  without it, by longer spans, for whoever may see everything.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter

import sqlalchemy as sa

from services.reporting.model.rollups import SPANS, day_of, start_of
from services.reporting.store import tables
from services.reporting.store.drivers import Driver
from services.reporting.store.rows import ATTEMPTS, Row, Target

MOST_MEMBERS_KNOWN = 100_000
MOST_PARAMETERS = 500


@dataclass(frozen=True, slots=True)
class Dimension:
    """Something that attempts are counted by: its table, and the columns of an attempt that make it up."""

    table: sa.Table
    columns: tuple[str, ...]

    @property
    def key(self) -> str:
        """Return the name of the number under which a member is known."""
        return next(iter(self.table.primary_key)).name


def _dimension(table: sa.Table) -> Dimension:
    return Dimension(table, tuple(column.name for column in table.c if column.name in tables.ATTEMPT.c))


DEVICE, USER, FILE, DECISION = map(
    _dimension, (tables.KNOWN_DEVICE, tables.KNOWN_USER, tables.KNOWN_FILE, tables.KNOWN_DECISION)
)
DIMENSIONS = (DEVICE, USER, FILE, DECISION)


@dataclass(frozen=True, slots=True)
class Rollup:
    """Counts by some dimensions, for spans of some lengths."""

    table: sa.Table
    dimensions: tuple[Dimension, ...]
    spans: tuple[int, ...]


ROLLUPS = (
    Rollup(tables.COUNT_BY_DECISION, (DECISION,), SPANS),
    Rollup(tables.COUNT_BY_FILE, (FILE, DECISION), SPANS),
    Rollup(tables.COUNT_BY_USER, (USER, DECISION), SPANS),
    Rollup(tables.COUNT, DIMENSIONS, SPANS[:1]),
)
"""The smallest first: a report takes the first that has all that it needs."""


def _adding(table: sa.Table) -> Target:
    keys = ", ".join(column.name for column in table.primary_key)
    total = f"{table.name}.attempts + excluded.attempts"
    columns = tuple(column.name for column in table.c)
    conflict = f"ON CONFLICT ({keys}) DO UPDATE SET attempts = {total}"
    return Target(table.name, columns, conflict=conflict, numbers=True)


_ADDING = {rollup.table: _adding(rollup.table) for rollup in ROLLUPS}
_KNOWN = {dimension: Target(dimension.table.name, ("digest", *dimension.columns)) for dimension in DIMENSIONS}
_SELECT_STORED = f"SELECT {', '.join(ATTEMPTS.columns)} FROM {ATTEMPTS.name} WHERE stored = ?"  # noqa: S608 - our own names


def _picker(columns: Sequence[str]) -> Callable[[Row], Row]:
    places = [ATTEMPTS.columns.index(column) for column in columns]
    if len(places) == 1:
        return itemgetter(slice(places[0], places[0] + 1))
    return itemgetter(*places)


_MEMBER = {dimension: _picker(dimension.columns) for dimension in DIMENSIONS}
_OCCURRED: Callable[[Row], int] = itemgetter(ATTEMPTS.columns.index("occurred"))


class Counts:
    """Keep the counts on the connection of the sink."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._keys: Mapping[Dimension, dict[Row, int]] = {dimension: {} for dimension in DIMENSIONS}

    def count(self, attempts: Sequence[Row]) -> None:
        """Count rows of attempts that this transaction inserted."""
        days = [day_of(time) for time in map(_OCCURRED, attempts)]
        keys = {
            dimension: self._keys_of(dimension, list(map(_MEMBER[dimension], attempts))) for dimension in DIMENSIONS
        }
        for rollup in ROLLUPS:
            cells = Counter(zip(days, *(keys[dimension] for dimension in rollup.dimensions), strict=True))
            self._driver.insert(_ADDING[rollup.table], _spread(cells, rollup.spans))

    def stored_in(self, transaction: int) -> list[Row]:
        """Return the attempts that the transaction of this number inserted."""
        return self._driver.fetch(_SELECT_STORED, (transaction,))

    def forget(self) -> None:
        """Forget the numbers that a transaction gave out which was not committed."""
        for known in self._keys.values():
            known.clear()

    def _keys_of(self, dimension: Dimension, members: Sequence[Row]) -> list[int]:
        known = self._keys[dimension]
        if len(known) > MOST_MEMBERS_KNOWN:
            known.clear()
        if unknown := {member for member in members if member not in known}:
            self._learn(dimension, {_digest(member): member for member in unknown})
        return [known[member] for member in members]

    def _learn(self, dimension: Dimension, members: Mapping[str, Row]) -> None:
        target, known = _KNOWN[dimension], self._keys[dimension]
        self._driver.insert(target, [(digest, *member) for digest, member in sorted(members.items())])
        digests = sorted(members)
        for start in range(0, len(digests), MOST_PARAMETERS):
            asked = tuple(digests[start : start + MOST_PARAMETERS])
            marks = ", ".join("?" * len(asked))
            query = f"SELECT digest, {dimension.key} FROM {target.name} WHERE digest IN ({marks})"  # noqa: S608 - our own names
            for digest, key in self._driver.fetch(query, asked):
                known[members[str(digest)]] = int(str(key))


def _spread(cells: Mapping[Row, int], spans: Iterable[int]) -> list[Row]:
    """Return the rows of counts of days, for each length of span."""
    rows: list[Row] = []
    for span in spans:
        counts = cells if span == 1 else _merged(cells, span)
        rows += [(span, *cell, attempts) for cell, attempts in counts.items()]
    return rows


def _merged(cells: Mapping[Row, int], span: int) -> Mapping[Row, int]:
    counts: Counter[Row] = Counter()
    for cell, attempts in cells.items():
        counts[start_of(cell[0], span), *cell[1:]] += attempts  # type: ignore[arg-type]
    return counts


def _digest(member: Row) -> str:
    """Return what a member is found by. Texts hold no NUL; whether a database says true or 1 is all the same."""
    texts = (value if isinstance(value, str) else str(bool(value)) for value in member)
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()
