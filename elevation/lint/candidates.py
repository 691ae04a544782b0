"""Find the rules that a rule has to be compared with, so that lint does not grow with the square of the rules.

All rules of a platform with one name stand on one shelf, apart by which of the fields they fill that two files rarely
have in common: hash, signer, description, product and internal name. Rules that share a file agree in what both fill.
The shelves for a name are those of the names that share a file with it (`elevation.lint.names`).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from elevation.lint.names import MANY, Names
from elevation.lint.patterns import Glob, agree
from elevation.lint.recognition import SIGNER, Recognition
from elevation.model import CertificateType
from elevation.wildcards import literals

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
            self.add(rule, sort_of(rule))

    def add(self, rule: Recognition, sort: Sort) -> None:
        """Put a rule of a sort on its place, before it is looked for."""
        self._sorts.setdefault(sort, []).append(rule)

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

    def __init__(self, rules: Iterable[Recognition], names: Names | None = None) -> None:
        """File the rules; `names` are those that were filed before, and need not be filed again if they are the same."""
        self.rules = sorted(rules, key=lambda rule: rule.ranks[0])
        self._shelves: dict[Glob, Shelf] = {}
        self._every = Shelf()
        for rule in self.rules:
            shelf = self._shelves.get(rule.name)
            if shelf is None:
                shelf = self._shelves[rule.name] = Shelf()
            sort = sort_of(rule)
            shelf.add(rule, sort)
            self._every.add(rule, sort)
        self.names = names if names is not None and names.all == tuple(self._shelves) else Names(self._shelves)
        self._wider: dict[Glob, tuple[Shelf, ...]] = {}
        self._narrower: dict[Glob, tuple[Shelf, ...]] = {}
        self._sharing: dict[Glob, tuple[Shelf, ...]] = {}
        self._crowds: dict[Glob, Shelf] = {}

    def wider(self, rule: Recognition) -> Iterator[Recognition]:
        """List the rules that may take a rule in and come before it."""
        own, name = rule.shape, rule.name
        shelves = self._wider.get(name)
        if shelves is None:
            shelves = self._wider[name] = self._gather(self.names.wider(name))
        for shelf in shelves:
            yield from shelf.find(
                rule, lambda sort: sort.shape & own == sort.shape and (sort.denies or not rule.denies)
            )

    def narrower(self, rule: Recognition) -> Iterator[Recognition]:
        """List the rules that a rule may take in and come before."""
        own, name = rule.shape, rule.name
        shelves = self._narrower.get(name)
        if shelves is None:
            shelves = self._narrower[name] = self._gather(self.names.narrower(name))
        for shelf in shelves:
            yield from shelf.find(rule, lambda sort: sort.shape & own == own and (rule.denies or not sort.denies))

    def sharing(self, rule: Recognition, wanted: Callable[[Sort], bool]) -> Iterator[Recognition]:
        """List the rules of wanted sorts that may share a file with a rule."""
        name = rule.name
        if not name.is_literal:
            found = tuple(self._every.lists(rule, wanted))
            # A name such as *.exe has a file in common with most others, but few rules are for the same signer or product.
            if sum(map(len, found)) <= max(MANY, self.names.count_near(name)):
                yield from _possible(name, chain.from_iterable(found))
                return
        shelves = self._sharing.get(name)
        if shelves is None:
            crowds = tuple(self._crowd(crowd) for crowd in self.names.crowds(name))
            shelves = self._sharing[name] = (*crowds, *self._gather(self.names.sharing(name)))
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
        return tuple(self._shelves[name] for name in found) if len(found) < MANY else (self._together(found),)


def _possible(name: Glob, rules: Iterable[Recognition]) -> Iterator[Recognition]:
    """Leave out most of the rules whose names have no file in common with a pattern."""
    piece = max(literals(name.text), key=len)
    for rule in rules:
        if (not rule.name.is_literal or piece in rule.name.text) and agree(name, rule.name):
            yield rule
