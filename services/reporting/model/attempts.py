"""Decided attempts: one by one as records, or many by columns.

Records are named tuples, not dataclasses: one is made per event on the hot path, where a frozen dataclass costs several
times as much. Columns are cheaper still to hand on and to store: what attempts have in common is there once, and nothing is made
for each attempt.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import NamedTuple, overload


class AttemptRecord(NamedTuple):
    """One decided attempt (DECIDED)."""

    seq: int
    event_id: str
    attempt_id: str
    occurred: int
    user_name: str
    trigger: str
    outcome: str
    source: str
    managed: bool
    administrator: bool
    """Whether the user was an administrator of the device."""
    elevation_type: str
    policy: str
    rule: str
    result: str
    file_name: str
    internal_name: str
    version: str
    company_name: str
    sha256: str
    publisher: str
    body: bytes


_FIRST_WORD, _FIRST_FACT = AttemptRecord._fields.index("trigger"), AttemptRecord._fields.index("file_name")
_BODY = AttemptRecord._fields.index("body")
WORDS, FACTS = AttemptRecord._fields[_FIRST_WORD:_FIRST_FACT], AttemptRecord._fields[_FIRST_FACT:_BODY]
"""The fields that tell of a decision, and of a file: attempts have them in common."""
Part = tuple[object, ...]
_new = tuple.__new__


class Columns(NamedTuple):
    """Attempts by columns; of words and facts, which of those that they have in common."""

    seq: Sequence[int]
    event_id: Sequence[str]
    attempt_id: Sequence[str]
    occurred: Sequence[int]
    user_name: Sequence[str]
    words: Sequence[int]
    facts: Sequence[int]
    body: Sequence[bytes]


class Common(NamedTuple):
    """What attempts have in common, by number."""

    words: Sequence[Part]
    facts: Sequence[Part]


class Attempts(Sequence[AttemptRecord]):
    """Attempts that are kept by columns; a record is made where somebody looks at it."""

    __slots__ = ("columns", "common")

    def __init__(self, columns: Columns, common: Common) -> None:
        self.columns = columns
        self.common = common

    def __len__(self) -> int:
        return len(self.columns.seq)

    def __iter__(self) -> Iterator[AttemptRecord]:
        words, facts = self.common
        for *head, word, fact, body in zip(*self.columns, strict=True):
            yield _new(AttemptRecord, (*head, *words[word], *facts[fact], body))

    @overload
    def __getitem__(self, index: int) -> AttemptRecord: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[AttemptRecord]: ...
    def __getitem__(self, index: int | slice) -> AttemptRecord | Sequence[AttemptRecord]:
        return tuple(self)[index]


class Numbering:
    """Number what attempts have in common, as it comes."""

    def __init__(self) -> None:
        self._words, self._facts = _numbered(), _numbered()

    @property
    def common(self) -> Common:
        """Return what came so far."""
        return Common(list(self._words), list(self._facts))

    def columns(self, records: Sequence[AttemptRecord]) -> Columns:
        """Return the columns of attempts."""
        if not records:
            return Columns(*([()] * len(Columns._fields)))
        told: Sequence[Sequence[object]] = tuple(zip(*records, strict=True))
        words = list(map(self._words.__getitem__, zip(*told[_FIRST_WORD:_FIRST_FACT], strict=True)))
        facts = list(map(self._facts.__getitem__, zip(*told[_FIRST_FACT:_BODY], strict=True)))
        return Columns._make((*told[:_FIRST_WORD], words, facts, told[_BODY]))


def together(parts: Sequence[Sequence[AttemptRecord]]) -> Attempts:
    """Return all the attempts by columns."""
    kept = [part for part in parts if isinstance(part, Attempts)]
    if kept and len(kept) == len(parts) and all(one.common is kept[0].common for one in kept):
        columns = zip(*(one.columns for one in kept), strict=True)
        return Attempts(Columns._make(list(chain.from_iterable(column)) for column in columns), kept[0].common)
    numbering = Numbering()
    found = numbering.columns([record for part in parts for record in part])
    return Attempts(found, numbering.common)


def _numbered() -> "defaultdict[Part, int]":
    numbers: defaultdict[Part, int] = defaultdict()
    numbers.default_factory = numbers.__len__
    return numbers
