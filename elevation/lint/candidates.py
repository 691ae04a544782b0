"""Find the rules that a rule has to be compared with, so that lint does not grow with the square of the rules.

All rules of a platform with one name stand on one shelf, apart by which of the fields they fill that two files rarely
have in common: hash, signer, description, product and internal name. Rules that share a file agree in what both fill.
Of two names that share a file one literal beginning starts with the other, and likewise their ends,
so the shelves for a name are found by looking its beginnings and ends up.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain

from elevation.lint.patterns import Glob, agree, overlap, takes_in
from elevation.lint.recognition import SIGNER, Recognition
from elevation.model import CertificateType
from elevation.wildcards import literals

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
        return chain.from_iterable(self.lists(rule, wanted))

    def lists(self, rule: Recognition, wanted: Callable[[Sort], bool]) -> Iterator[Sequence[Recognition]]:
        """List those rules by what they have in common; where a rule has more than one signer's name, some are listed twice."""
        for sort, rules in self._sorts.items():
            if not wanted(sort):
                continue
            common = sort.shape & rule.shape
            if not common:
                yield rules
                continue
            index = self._indexes.get((sort, common))
            if index is None:
                index = self._indexes[sort, common] = _index(rules, common)
            for key in _looked_up(rule, common):
                yield index.get(key, ())


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
        self._every = Shelf(self.rules)
        self._names = _Names(self._shelves)
        self._wider: dict[Glob, tuple[Shelf, ...]] = {}
        self._narrower: dict[Glob, tuple[Shelf, ...]] = {}
        self._sharing: dict[Glob, tuple[Shelf, ...]] = {}
        self._crowds: dict[Glob, Shelf] = {}

    def wider(self, rule: Recognition) -> Iterator[Recognition]:
        """List the rules that may take a rule in and come before it."""
        own, name = rule.shape, rule.name
        shelves = self._wider.get(name)
        if shelves is None:
            shelves = self._wider[name] = self._gather(self._names.wider(name))
        for shelf in shelves:
            yield from shelf.find(
                rule, lambda sort: sort.shape & own == sort.shape and (sort.denies or not rule.denies)
            )

    def narrower(self, rule: Recognition) -> Iterator[Recognition]:
        """List the rules that a rule may take in and come before."""
        own, name = rule.shape, rule.name
        shelves = self._narrower.get(name)
        if shelves is None:
            shelves = self._narrower[name] = self._gather(self._names.narrower(name))
        for shelf in shelves:
            yield from shelf.find(rule, lambda sort: sort.shape & own == own and (rule.denies or not sort.denies))

    def sharing(self, rule: Recognition, wanted: Callable[[Sort], bool]) -> Iterator[Recognition]:
        """List the rules of wanted sorts that may share a file with a rule."""
        name = rule.name
        if not name.is_literal:
            found = tuple(self._every.lists(rule, wanted))
            # A name such as *.exe has a file in common with most others, but few rules are for the same signer or product.
            if sum(map(len, found)) <= max(_MANY, self._names.count_near(name)):
                yield from _possible(name, chain.from_iterable(found))
                return
        shelves = self._sharing.get(name)
        if shelves is None:
            crowds = tuple(self._crowd(crowd) for crowd in self._names.crowds(name))
            shelves = self._sharing[name] = (*crowds, *self._gather(self._names.sharing(name)))
        for shelf in shelves:
            yield from shelf.find(rule, wanted)

    def _crowd(self, crowd: tuple[Glob, ...]) -> Shelf:
        shelf = self._crowds.get(crowd[0])
        if shelf is None:
            shelf = self._crowds[crowd[0]] = self._together(crowd)
        return shelf

    def _together(self, names: Iterable[Glob]) -> Shelf:
        return Shelf(rule for name in names for rule in self._shelves[name].all())

    def _gather(self, names: Iterable[Glob]) -> tuple[Shelf, ...]:
        """Give the shelves of some names; where they are many, one for all of them."""
        found = tuple(names)
        return tuple(self._shelves[name] for name in found) if len(found) < _MANY else (self._together(found),)


def _possible(name: Glob, rules: Iterable[Recognition]) -> Iterator[Recognition]:
    """Leave out most of the rules whose names have no file in common with a pattern."""
    piece = max(literals(name.text), key=len)
    for rule in rules:
        if (not rule.name.is_literal or piece in rule.name.text) and agree(name, rule.name):
            yield rule


class _Names:
    """All names of a platform, by their literal beginnings and ends."""

    def __init__(self, names: Iterable[Glob]) -> None:
        by_prefix: dict[str, list[Glob]] = {}
        for name in names:
            by_prefix.setdefault(name.prefix, []).append(name)
        self._ends = {prefix: _Ends(found) for prefix, found in by_prefix.items()}
        self._prefixes = sorted(by_prefix)
        self._lengths = sorted({len(prefix) for prefix in self._prefixes})
        self._counts = list(accumulate((len(by_prefix[prefix]) for prefix in self._prefixes), initial=0))

    def count_near(self, name: Glob) -> int:
        """Count the names whose literal beginning begins with that of a pattern."""
        return self._counts[self._after(name)] - self._counts[bisect_left(self._prefixes, name.prefix)]

    def wider(self, name: Glob) -> Iterator[Glob]:
        """List the names that take a name in."""
        for alike in self._around(name):
            yield from (other for other in alike.within(name.text) if takes_in(other, name))

    def sharing(self, name: Glob) -> Iterator[Glob]:
        """List the names that share a file with a name, those of crowds left out."""
        for alike in self._near(name):
            if name.is_literal:
                others: Iterable[Glob] = alike.within(name.text)
            else:
                others = alike.bound if name.is_free and alike.crowd else alike.all
            yield from (other for other in others if overlap(name, other))

    def crowds(self, name: Glob) -> Iterator[tuple[Glob, ...]]:
        """List many names at once that all share a file with a pattern: those of stars with such ends do."""
        if name.is_free:
            yield from (alike.crowd for alike in self._near(name) if alike.crowd)

    def narrower(self, name: Glob) -> Iterator[Glob]:
        """List the names that a name takes in."""
        piece = max(literals(name.text), key=len)
        for alike in self._near(name):
            yield from (other for other in alike.all if piece in other.text and takes_in(name, other))

    def _near(self, name: Glob) -> Iterator["_Alike"]:
        """List the names of which some text has the beginnings and the ends, and those of the name."""
        return chain(self._around(name), self._beyond(name))

    def _around(self, name: Glob) -> Iterator["_Alike"]:
        """List the names whose literal beginning the name begins with; all that take it in are among them."""
        prefix = name.prefix
        for length in self._lengths:
            if length > len(prefix):
                return
            ends = self._ends.get(prefix[:length])
            if ends is not None:
                yield from ends.like(name.suffix)

    def _beyond(self, name: Glob) -> Iterator["_Alike"]:
        """List the names whose literal beginning is longer than that of a pattern and begins with it."""
        if name.is_literal:
            return
        first = bisect_right(self._prefixes, name.prefix)
        for longer in self._prefixes[first : self._after(name)]:
            yield from self._ends[longer].like(name.suffix)

    def _after(self, name: Glob) -> int:
        return bisect_left(self._prefixes, name.prefix + _LAST)


class _Ends:
    """Names with one literal beginning, by their literal ends."""

    __slots__ = ("_by_end", "_ends", "_lengths")

    def __init__(self, names: Iterable[Glob]) -> None:
        by_end: dict[str, list[Glob]] = {}
        for name in names:
            by_end.setdefault(name.suffix[::-1], []).append(name)
        self._by_end = {end: _Alike(found) for end, found in by_end.items()}
        self._ends = sorted(self._by_end)
        self._lengths = sorted({len(end) for end in self._ends})

    def like(self, suffix: str) -> Iterator["_Alike"]:
        """List the names whose end ends with this one, or this one with it."""
        end = suffix[::-1]
        for length in self._lengths:
            if length >= len(end):
                break
            alike = self._by_end.get(end[:length])
            if alike is not None:
                yield alike
        if self._lengths[-1] < len(end):
            return
        first = bisect_left(self._ends, end)
        for longer in self._ends[first : bisect_left(self._ends, end + _LAST)]:
            yield self._by_end[longer]


class _Alike:
    """Names with one literal beginning and one literal end, by what they have in the middle."""

    __slots__ = ("_by_piece", "_other", "all", "bound", "crowd")

    def __init__(self, names: Sequence[Glob]) -> None:
        self.all = names
        free = tuple(name for name in names if name.is_free)
        self.crowd = free if len(free) >= _MANY else ()
        """The patterns of stars alone, where they are many."""
        self.bound = [name for name in names if not name.is_free] if self.crowd else names
        self._other: list[Glob] = []
        self._by_piece: dict[int, dict[str, list[Glob]]] = {}
        for name in names:
            piece = max(literals(name.text)[1:-1], key=len, default="")
            if piece and len(names) >= _MANY:
                self._by_piece.setdefault(len(piece), {}).setdefault(piece, []).append(name)
            else:
                self._other.append(name)

    def within(self, text: str) -> Iterator[Glob]:
        """List the names whose middle a text has; all that match it, or take it in as a pattern, are among them."""
        yield from self._other
        for length, by_piece in self._by_piece.items():
            for piece in dict.fromkeys(text[at : at + length] for at in range(len(text) - length + 1)):
                yield from by_piece.get(piece, ())
