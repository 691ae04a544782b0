"""Find the rules that a rule has to be compared with, so that lint does not grow with the square of the rules.

All rules of a platform with one name stand on one shelf, apart by which of the fields they fill that two files rarely
have in common: hash, signer, description, product and internal name. Rules that share a file agree in what both fill.
Of two names that share a file one literal beginning starts with the other, and likewise their ends,
so the shelves for a name are found by looking its beginnings and ends up.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from elevation.lint.patterns import Glob, overlap, takes_in
from elevation.lint.recognition import SIGNER, Recognition
from elevation.model import CertificateType

_LAST = "\U0010ffff"
"""No text of a document is behind one that goes on with it."""

_MANY = 16
"""As many shelves are put together into one."""

_Key = tuple[object, ...]
_Index = dict[_Key, list[Recognition]]


@dataclass(frozen=True, slots=True)
class Sort:
    """What rules of one sort have in common."""

    shape: int
    """Which of the telling fields they fill."""
    denies: bool
    strength: tuple[bool, int]
    """Whether they have no hash, and how many attributes they lack: steps 3 and 4 of the order of rules."""
    type_order: int


def sort_of(rule: Recognition) -> Sort:
    """Give the sort of a rule."""
    rank = rule.ranks[0]
    return Sort(rule.shape, rule.denies, (rank.no_hash, rank.missing_attributes), rank.type_order)


class Shelf:
    """Rules that are looked up together, apart by their sorts and their telling fields."""

    __slots__ = ("_indexes", "_sorts")

    def __init__(self, rules: Iterable[Recognition] = ()) -> None:
        self._sorts: dict[Sort, list[Recognition]] = {}
        self._indexes: dict[tuple[Sort, int], _Index] = {}
        for rule in rules:
            self.add(rule)

    def add(self, rule: Recognition) -> None:
        """Put a rule on its place, before it is looked for."""
        self._sorts.setdefault(sort_of(rule), []).append(rule)

    def all(self) -> Iterator[Recognition]:
        """List all rules."""
        return chain.from_iterable(self._sorts.values())

    def find(self, rule: Recognition, wanted: Callable[[Sort], bool]) -> Iterator[Recognition]:
        """List the rules of wanted sorts that agree with a rule in the telling fields that both fill."""
        for sort, rules in self._sorts.items():
            if not wanted(sort):
                continue
            common = sort.shape & rule.shape
            if not common:
                yield from rules
                continue
            index = self._indexes.get((sort, common))
            if index is None:
                index = self._indexes[sort, common] = _index(rules, common)
            for key in _looked_up(rule, common):
                yield from index.get(key, ())


def _key(values: tuple[object, ...], fields: int) -> _Key:
    return tuple(value for place, value in enumerate(values) if fields >> place & 1)


def _index(rules: Iterable[Recognition], fields: int) -> _Index:
    """File rules under what they have in some fields; a signer under its own name and under that of its chain."""
    index: _Index = {}
    for rule in rules:
        keys = [rule.telling]
        if fields & SIGNER and rule.certificate is not None and rule.signer is not None:
            name = rule.certificate.issuer_name if _is_leaf(rule) else rule.certificate.subject_name
            keys.append((rule.sha256, (rule.signer[0], name), *rule.texts))
        for values in keys:
            index.setdefault(_key(values, fields), []).append(rule)
    return index


def _looked_up(rule: Recognition, fields: int) -> Iterator[_Key]:
    """List the keys under which a rule finds others: its own, and that of its signer's issuer or publishers."""
    yield _key(rule.telling, fields)
    if fields & SIGNER and rule.certificate is not None:
        if _is_leaf(rule):
            issuing = (CertificateType.CERTIFICATE_AUTHORITY, rule.certificate.issuer_name)
        else:
            issuing = (CertificateType.PUBLISHER, rule.certificate.subject_name)
        yield _key((rule.sha256, issuing, *rule.texts), fields)


def _is_leaf(rule: Recognition) -> bool:
    return rule.signer is not None and rule.signer[0] is CertificateType.PUBLISHER


class Candidates:
    """The rules of one platform, in the order of rules (as if all were targeted at devices)."""

    def __init__(self, rules: Iterable[Recognition]) -> None:
        self.rules = sorted(rules, key=lambda rule: rule.ranks[0])
        self._shelves: dict[Glob, Shelf] = {}
        for rule in self.rules:
            shelf = self._shelves.get(rule.name)
            if shelf is None:
                shelf = self._shelves[rule.name] = Shelf()
            shelf.add(rule)
        self._names = _Names(self._shelves)
        self._wider: dict[Glob, tuple[Shelf, ...]] = {}
        self._narrower: dict[Glob, tuple[Shelf, ...]] = {}
        self._sharing: dict[Glob, tuple[Shelf, ...]] = {}

    def wider(self, rule: Recognition) -> Iterator[Recognition]:
        """List the rules that may take a rule in and come before it."""
        own, name = rule.shape, rule.name
        shelves = self._wider.get(name)
        if shelves is None:
            shelves = self._wider[name] = self._gather(
                other for other in self._names.around(name) if takes_in(other, name)
            )
        for shelf in shelves:
            yield from shelf.find(
                rule, lambda sort: sort.shape & own == sort.shape and (sort.denies or not rule.denies)
            )

    def narrower(self, rule: Recognition) -> Iterator[Recognition]:
        """List the rules that a rule may take in and come before."""
        own, name = rule.shape, rule.name
        shelves = self._narrower.get(name)
        if shelves is None:
            shelves = self._narrower[name] = self._gather(other for other in self._near(name) if takes_in(name, other))
        for shelf in shelves:
            yield from shelf.find(rule, lambda sort: sort.shape & own == own and (rule.denies or not sort.denies))

    def sharing(self, rule: Recognition, wanted: Callable[[Sort], bool]) -> Iterator[Recognition]:
        """List the rules of wanted sorts that may share a file with a rule."""
        name = rule.name
        shelves = self._sharing.get(name)
        if shelves is None:
            shelves = self._sharing[name] = self._gather(other for other in self._near(name) if overlap(name, other))
        for shelf in shelves:
            yield from shelf.find(rule, wanted)

    def _near(self, name: Glob) -> Iterable[Glob]:
        return dict.fromkeys((*self._names.around(name), *self._names.beyond(name)))

    def _gather(self, names: Iterable[Glob]) -> tuple[Shelf, ...]:
        """Give the shelves of some names; where they are many, one for all of them."""
        shelves = tuple(self._shelves[name] for name in names)
        if len(shelves) < _MANY:
            return shelves
        return (Shelf(rule for shelf in shelves for rule in shelf.all()),)


class _Names:
    """All names of a platform, by their literal beginnings and ends."""

    def __init__(self, names: Iterable[Glob]) -> None:
        by_prefix: dict[str, list[Glob]] = {}
        for name in names:
            by_prefix.setdefault(name.prefix, []).append(name)
        self._ends = {prefix: _Ends(found) for prefix, found in by_prefix.items()}
        self._prefixes = sorted(by_prefix)
        self._lengths = sorted({len(prefix) for prefix in self._prefixes})

    def around(self, name: Glob) -> Iterator[Glob]:
        """List the names whose literal beginning the name begins with; all that take it in are among them."""
        prefix = name.prefix
        for length in self._lengths:
            if length > len(prefix):
                return
            ends = self._ends.get(prefix[:length])
            if ends is not None:
                yield from ends.like(name.suffix)

    def beyond(self, name: Glob) -> Iterator[Glob]:
        """List the names whose literal beginning goes on from that of a pattern."""
        if name.is_literal:
            return
        first = bisect_left(self._prefixes, name.prefix)
        last = bisect_left(self._prefixes, name.prefix + _LAST)
        for longer in self._prefixes[first:last]:
            yield from self._ends[longer].like(name.suffix)


class _Ends:
    """Names with one literal beginning, by their literal ends."""

    __slots__ = ("_by_end", "_ends", "_lengths")

    def __init__(self, names: Iterable[Glob]) -> None:
        self._by_end: dict[str, list[Glob]] = {}
        for name in names:
            self._by_end.setdefault(name.suffix[::-1], []).append(name)
        self._ends = sorted(self._by_end)
        self._lengths = sorted({len(end) for end in self._ends})

    def like(self, suffix: str) -> Iterator[Glob]:
        """List the names whose end ends with this one, or this one with it."""
        end = suffix[::-1]
        for length in self._lengths:
            if length >= len(end):
                break
            yield from self._by_end.get(end[:length], ())
        if self._lengths[-1] < len(end):
            return
        first = bisect_left(self._ends, end)
        for longer in self._ends[first : bisect_left(self._ends, end + _LAST)]:
            yield from self._by_end[longer]
