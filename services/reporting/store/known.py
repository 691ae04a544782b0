"""Give out the numbers under which devices, users, files, decisions and rules are known, inside the sink's transaction.

- The numbers are cached, and forgotten with a transaction that fails.
- So are the pairs of users and devices that stand in their table.
- So is, for one transaction, up to which day all days are closed.
- INVARIANT: a number that retention took away is never used again by whoever has it cached: retention counts its doings
  under the lock that the sink's transaction takes, and the cache is forgotten when that count has moved.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from services.reporting.store.dimensions import DIMENSIONS, Dimension
from services.reporting.store.driver import Driver
from services.reporting.store.rows import Row, Target

MOST_MEMBERS_KNOWN = 100_000
MOST_CHARACTERS = 16_000_000
"""Characters of a dimension's members that are cached: devices choose these texts."""
MOST_PAIRS_KNOWN = 200_000
MOST_PARAMETERS = 500
_SELECT_HORIZON = "SELECT numbers_forgotten, closed_before FROM reporting_horizon WHERE id = 1"
_TARGETS = {dimension: Target(dimension.table.name, ("digest", *dimension.columns)) for dimension in DIMENSIONS}


class Known:
    """Know members by number, on the connection of the sink."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._keys: Mapping[Dimension, dict[Row, int]] = {dimension: {} for dimension in DIMENSIONS}
        self._characters = Counter[Dimension]()
        self._pairs: set[Row] = set()
        self._forgotten: object = None
        self.closed_before = 0
        """The day before which all are closed, as of the last look."""
        self.generation = 0
        """How often something was forgotten: what was found before that may no longer be true, or only in part."""

    def look(self) -> None:
        """Forget everything if numbers were taken away since the last look; call it under the revision's lock."""
        forgotten, closed = self._driver.fetch(_SELECT_HORIZON, ())[0]
        self.closed_before = int(str(closed))
        if forgotten != self._forgotten:
            self.forget()
            self._forgotten = forgotten

    def forget(self) -> None:
        """Forget all numbers, such as those that a transaction gave out which was not committed."""
        for known in self._keys.values():
            known.clear()
        self._characters.clear()
        self._pairs.clear()
        self.generation += 1  # last: whoever reads it beside this thread finds nothing of what it no longer counts for

    def cached(self, dimension: Dimension) -> Mapping[Row, int]:
        """Return the members of a dimension that are known without a look at the database."""
        return self._keys[dimension]

    def keys_of(self, dimension: Dimension, members: Sequence[Row]) -> list[int]:
        """Return the numbers of the members; those that are new get one."""
        known = self._keys[dimension]
        if len(known) > MOST_MEMBERS_KNOWN or self._characters[dimension] > MOST_CHARACTERS:
            known.clear()
            del self._characters[dimension]
            self.generation += 1
        keys = list(map(known.get, members))
        if None in keys:
            unknown = {member for member, key in zip(members, keys, strict=True) if key is None}
            self._learn(dimension, {digest_of(member): member for member in unknown})
            return [known[member] for member in members]
        return cast("list[int]", keys)

    def unpaired(self, pairs: Iterable[Row]) -> set[Row]:
        """Return the pairs of users and devices of which nobody knows yet whether they stand in their table."""
        return set(pairs) - self._pairs

    def pair(self, pairs: Iterable[Row]) -> None:
        """Know from now on that this transaction saw to it that these pairs stand in their table."""
        if len(self._pairs) > MOST_PAIRS_KNOWN:
            self._pairs.clear()
        self._pairs.update(pairs)

    def _learn(self, dimension: Dimension, members: Mapping[str, Row]) -> None:
        target, known = _TARGETS[dimension], self._keys[dimension]
        self._driver.insert(target, [(digest, *member) for digest, member in sorted(members.items())])
        self._characters[dimension] += sum(len(str(text)) for member in members.values() for text in member)
        digests = sorted(members)
        for start in range(0, len(digests), MOST_PARAMETERS):
            asked = tuple(digests[start : start + MOST_PARAMETERS])
            marks = ", ".join("?" * len(asked))
            query = f"SELECT digest, {dimension.key} FROM {target.name} WHERE digest IN ({marks})"  # noqa: S608 - our own names
            for digest, key in self._driver.fetch(query, asked):
                known[members[str(digest)]] = int(str(key))


class Cached:
    """Know the members whose numbers are cached, without a look at the database: in whatever thread."""

    def __init__(self, known: Known) -> None:
        self._known = known

    def keys_of(self, dimension: Dimension, members: Sequence[Row]) -> list[int]:
        """Return the numbers of the members. Raises LookupError where one is not cached."""
        cached = self._known.cached(dimension)
        return [cached[member] for member in members]


def digest_of(member: Row) -> str:
    """Return what a member is found by. Texts hold no NUL; whether a database says true or 1 is all the same."""
    texts = (value if isinstance(value, str) else str(bool(value)) for value in member)
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()
