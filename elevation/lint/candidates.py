"""Find the rules that a rule has to be compared with, so that lint does not grow with the square of the rules.

All rules of a platform with one name stand on one shelf, apart by which of the fields they fill that two files rarely
have in common: hash, signer, description, product and internal name. Rules that share a file agree in what both fill.
Of two names that share a file one literal beginning starts with the other, and likewise their ends,
so the shelves for a name are found by looking its beginnings and ends up.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator

from elevation.lint.patterns import Glob, overlap, takes_in
from elevation.lint.recognition import HASH, SIGNER, Recognition
from elevation.model import CertificateType

_LAST = "\U0010ffff"
"""No text of a document is behind one that goes on with it."""

_Key = tuple[object, ...]
_Index = dict[_Key, list[Recognition]]


class Shelf:
    """All rules with one name, apart by which of the telling fields they fill."""

    __slots__ = ("_indexes", "_shapes")

    def __init__(self) -> None:
        self._shapes: dict[int, list[Recognition]] = {}
        self._indexes: dict[tuple[int, int], _Index] = {}

    def add(self, rule: Recognition) -> None:
        """Put a rule on its place."""
        self._shapes.setdefault(rule.shape, []).append(rule)

    def find(self, rule: Recognition, wanted: Callable[[int], bool]) -> Iterator[Recognition]:
        """List the rules of wanted shapes that agree with a rule in what both fill."""
        own = rule.shape
        for shape, rules in self._shapes.items():
            if not wanted(shape):
                continue
            common = shape & own
            if not common:
                yield from rules
                continue
            index = self._indexes.get((shape, common))
            if index is None:
                index = self._indexes[shape, common] = _index(rules, common)
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
            chain = (CertificateType.CERTIFICATE_AUTHORITY, rule.certificate.issuer_name)
        else:
            chain = (CertificateType.PUBLISHER, rule.certificate.subject_name)
        yield _key((rule.sha256, chain, *rule.texts), fields)


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
        self._touching: dict[Glob, tuple[tuple[Glob, Shelf], ...]] = {}

    def wider(self, rule: Recognition) -> Iterator[Recognition]:
        """List the rules that may take a rule in."""
        shelves = self._wider.get(rule.name)
        if shelves is None:
            found = (name for name in self._names.around(rule.name) if takes_in(name, rule.name))
            shelves = self._wider[rule.name] = tuple(self._shelves[name] for name in found)
        own = rule.shape
        for shelf in shelves:
            yield from shelf.find(rule, lambda shape: shape & own == shape)

    def narrower(self, rule: Recognition) -> Iterator[Recognition]:
        """List the rules that a rule may take in."""
        own = rule.shape
        for name, shelf in self._touched(rule.name):
            if takes_in(rule.name, name):
                yield from shelf.find(rule, lambda shape: shape & own == own)

    def as_strong(self, rule: Recognition) -> Iterator[Recognition]:
        """List the rules that may share a file with a rule and have a hash if it has, none if it has none."""
        return self._sharing(rule, hashed=bool(rule.sha256))

    def stronger(self, rule: Recognition) -> Iterator[Recognition]:
        """List the rules with a hash that may share a file with a rule."""
        return self._sharing(rule, hashed=True)

    def weaker(self, rule: Recognition) -> Iterator[Recognition]:
        """List the rules without a hash that may share a file with a rule."""
        return self._sharing(rule, hashed=False)

    def _sharing(self, rule: Recognition, *, hashed: bool) -> Iterator[Recognition]:
        for _, shelf in self._touched(rule.name):
            yield from shelf.find(rule, lambda shape: bool(shape & HASH) is hashed)

    def _touched(self, name: Glob) -> tuple[tuple[Glob, Shelf], ...]:
        touched = self._touching.get(name)
        if touched is None:
            near = {*self._names.around(name), *self._names.beyond(name)}
            found = sorted((other for other in near if overlap(name, other)), key=lambda other: other.text)
            touched = self._touching[name] = tuple((other, self._shelves[other]) for other in found)
        return touched


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
