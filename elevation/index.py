"""Compile the policies of one user on one device so that a decision does not grow with the number of rules.

Every rule is filed under one key that any file it matches must show: its hash, its literal name, its certificate, one
of its texts, its literal folder, or a literal piece of its name pattern. Of the keys a rule has, the one that the
fewest rules share is taken. A file is looked up under each kind of key, which gives a handful of candidates; the best
of those that match wins.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import Enum, auto

from elevation.compiled import CompiledRule, compile_rules, default_decision
from elevation.matching import Facts, certificate_of, comparable, folder_of
from elevation.model import Certificate, CertificateType, Platform, RulesPolicy, Settings
from elevation.wildcards import has_wildcard, literals

_SHORTEST_PIECE = 2


class _Kind(Enum):
    """What a key is about."""

    HASH = auto()
    NAME = auto()
    LEAF = auto()
    ISSUER = auto()
    PRODUCT = auto()
    INTERNAL = auto()
    DESCRIPTION = auto()
    FOLDER = auto()
    PREFIX = auto()
    SUFFIX = auto()
    PIECE = auto()
    ANY = auto()


_COST = {_Kind.PREFIX: 1, _Kind.SUFFIX: 1, _Kind.PIECE: 4}
"""What it costs to look up a further length of a key, as a number of candidates that it has to save."""

_Key = tuple[_Kind, str | bytes]
_Bucket = list[CompiledRule]
_Buckets = dict[str | bytes, _Bucket]


class _Ends:
    """The buckets of literal beginnings, or ends, of names.

    Keys are grouped by the part that all of them have, so that a name which begins like none costs one look.
    """

    __slots__ = ("_buckets", "_lengths", "_part")

    def __init__(self, buckets: _Buckets, *, at_start: bool) -> None:
        shortest = min((len(key) for key in buckets), default=0)
        self._buckets = buckets
        self._part = slice(shortest) if at_start else slice(-shortest, None)
        self._lengths: dict[str | bytes, list[slice]] = {}
        for key in sorted(buckets, key=len):
            part = slice(len(key)) if at_start else slice(-len(key), None)
            parts = self._lengths.setdefault(key[self._part], [])
            if part not in parts:
                parts.append(part)

    def add_to(self, found: list[_Bucket | None], name: str) -> None:
        """Add the buckets of all keys that a name begins, or ends, with."""
        for part in self._lengths.get(name[self._part], ()):
            found.append(self._buckets.get(name[part]))  # noqa: PERF401 - mostly there is none, and a loop starts faster


class Index:
    """All rules of one platform, ready to be looked up."""

    __slots__ = (
        "_any",
        "_by_hash",
        "_by_name",
        "_by_text",
        "_ends",
        "_issuers",
        "_leaves",
        "_piece_lengths",
        "_pieces",
        "rules",
        "widest",
    )

    def __init__(
        self, rules: Iterable[CompiledRule], platform: Platform, certificates: Mapping[str, Certificate]
    ) -> None:
        self.rules = tuple(sorted(rules, key=lambda rule: rule.rank))
        buckets = _file_rules(self.rules, platform, certificates)
        self.widest = max((len(bucket) for kind in buckets.values() for bucket in kind.values()), default=0)
        """The most candidates that one key holds."""
        self._by_hash = buckets[_Kind.HASH].get
        self._by_name = buckets[_Kind.NAME].get
        self._by_text = tuple((buckets[kind].get, read) for kind, read in _READERS if buckets[kind])
        self._any = buckets[_Kind.ANY].get("")
        self._leaves = buckets[_Kind.LEAF]
        self._issuers = buckets[_Kind.ISSUER]
        self._ends = tuple(
            _Ends(buckets[kind], at_start=kind is _Kind.PREFIX)
            for kind in (_Kind.PREFIX, _Kind.SUFFIX)
            if buckets[kind]
        )
        self._pieces = buckets[_Kind.PIECE]
        self._piece_lengths = sorted({len(piece) for piece in self._pieces})

    def best(self, facts: Facts) -> CompiledRule | None:
        """Find the winner by the order of rules; None where no rule matches."""
        best: CompiledRule | None = None
        for bucket in self._candidates(facts):
            if bucket is not None:
                best = _better(best, bucket, facts)
        return best

    def _candidates(self, facts: Facts) -> list[_Bucket | None]:
        name = facts.match_name
        found = [self._by_hash(facts.sha256), self._by_name(name), self._any]
        for get, read in self._by_text:
            found.append(get(read(facts)))
        if facts.file.signers:
            if self._leaves:
                found.extend([self._leaves.get(leaf) for leaf in facts.leaves])
            if self._issuers:
                found.extend([self._issuers.get(issuer) for issuer in facts.issuers])
        for ends in self._ends:
            ends.add_to(found, name)
        for length in self._piece_lengths:
            pieces = {name[at : at + length] for at in range(len(name) - length + 1)}
            found.extend([self._pieces[piece] for piece in pieces if piece in self._pieces])
        return found


class CompiledPolicy:
    """The settings and all rules that one user on one device decides by."""

    __slots__ = ("_indexes", "_names", "default", "settings")

    def __init__(self, settings: Settings | None, indexes: Mapping[Platform, Index]) -> None:
        self.settings = settings
        self.default = default_decision(settings)
        """The decision of the default response."""
        self._indexes = dict(indexes)
        self._names = {
            (platform, rule.policy, rule.rule.name): rule for platform, index in indexes.items() for rule in index.rules
        }

    def rules(self, platform: Platform) -> tuple[CompiledRule, ...]:
        """Give all rules for a platform in the order of rules."""
        index = self._indexes.get(platform)
        return () if index is None else index.rules

    def widest(self, platform: Platform) -> int:
        """Give the most candidates that one key holds: what a decision may have to look at."""
        index = self._indexes.get(platform)
        return 0 if index is None else index.widest

    def best(self, facts: Facts, platform: Platform) -> CompiledRule | None:
        """Find the rule that wins for a file; rules of another platform never do."""
        index = self._indexes.get(platform)
        return None if index is None else index.best(facts)

    def find(self, policy: str, rule: str, platform: Platform) -> CompiledRule | None:
        """Find a rule by its name; None where the policy does not hold it any more."""
        return self._names.get((platform, policy, rule))


def compile_policy(
    settings: Settings | None,
    policies: Iterable[tuple[RulesPolicy, bool]],
    certificates: Mapping[str, Certificate],
) -> CompiledPolicy:
    """Compile merged settings and the rules policies that apply, each with whether it is user-targeted.

    `certificates` are the reusable ones by name. Raise CompileError for a rule that has no meaning.
    """
    rules: dict[Platform, list[CompiledRule]] = {}
    for policy, user_targeted in policies:
        compiled = compile_rules(policy, certificates, user_targeted=user_targeted)
        rules.setdefault(policy.platform, []).extend(compiled)
    return CompiledPolicy(
        settings, {platform: Index(found, platform, certificates) for platform, found in rules.items()}
    )


_READERS: tuple[tuple[_Kind, Callable[[Facts], str]], ...] = (
    (_Kind.FOLDER, lambda facts: facts.match_folder),
    (_Kind.PRODUCT, lambda facts: facts.file.product_name),
    (_Kind.INTERNAL, lambda facts: facts.file.internal_name),
    (_Kind.DESCRIPTION, lambda facts: facts.file.description),
)
"""Kinds of key that few indexes have, and how a file shows them."""


def _better(best: CompiledRule | None, bucket: _Bucket, facts: Facts) -> CompiledRule | None:
    """Find the first rule of a bucket that matches and comes before the best so far, or keep that."""
    for rule in bucket:
        if best is not None and rule.place > best.place:
            return best
        for _, test in rule.tests:
            if not test(facts):
                break
        else:
            return rule
    return best


def _file_rules(
    rules: Sequence[CompiledRule], platform: Platform, certificates: Mapping[str, Certificate]
) -> dict[_Kind, _Buckets]:
    """File every rule, in the order of rules, under the key that it shares with the fewest others."""
    keys = [list(_keys(rule, platform, certificates)) for rule in rules]
    shared = Counter(key for own in keys for key in own)
    buckets: dict[_Kind, _Buckets] = {kind: {} for kind in _Kind}
    for place, (rule, own) in enumerate(zip(rules, keys, strict=True)):
        rule.place = place
        kind, value = min(own, key=lambda key: shared[key] + _COST.get(key[0], 0))
        buckets[kind].setdefault(value, []).append(rule)
    return buckets


def _keys(rule: CompiledRule, platform: Platform, certificates: Mapping[str, Certificate]) -> Iterator[_Key]:
    """List the keys that every file shows which the rule matches, the cheapest first."""
    detection = rule.rule.detection
    if detection.file_hash:
        yield _Kind.HASH, detection.file_hash.lower()
    name = comparable(detection.file_name, platform)
    if not has_wildcard(name):
        yield _Kind.NAME, name
    if detection.certificate is not None:
        kind = _Kind.LEAF if detection.certificate.type is CertificateType.PUBLISHER else _Kind.ISSUER
        yield kind, certificate_of(detection.certificate, certificates).der
    for kind, text in (
        (_Kind.PRODUCT, detection.product_name),
        (_Kind.INTERNAL, detection.internal_name),
        (_Kind.DESCRIPTION, detection.file_description),
    ):
        if text:
            yield kind, text
    if detection.file_path and not has_wildcard(detection.file_path):
        yield _Kind.FOLDER, folder_of(detection, platform)
    if has_wildcard(name):
        yield from _piece_keys(name)
    yield _Kind.ANY, ""


def _piece_keys(pattern: str) -> Iterator[_Key]:
    first, *_, last = pieces = literals(pattern)
    if first:
        yield _Kind.PREFIX, first
    if last:
        yield _Kind.SUFFIX, last
    for piece in pieces[1:-1]:
        if len(piece) >= _SHORTEST_PIECE:
            yield _Kind.PIECE, piece
