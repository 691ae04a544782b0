"""Check what documents mean, each by itself and all together, and say where in the files a problem stands."""

import re
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from elevation import checks, texts
from elevation.lookalikes import skeleton
from elevation.model import Group, Problem, ReusableCertificate, RulesPolicy, SettingsPolicy
from elevation.words import GroupType
from elevation.written import check_written
from epmctl.documents.model import Draft, Kind
from epmctl.documents.places import line_of
from epmctl.errors import Flaw

_OF_METADATA: Final = frozenset({"name", "description"})
_STEP: Final = re.compile(r"[.\[]")


@dataclass(frozen=True, slots=True)
class Unsound:
    """A problem of what a document means, and where it stands."""

    draft: Draft
    problem: Problem
    flaw: Flaw


def check_drafts(drafts: Sequence[Draft], known: Collection[Flaw], *, closed: bool) -> Iterator[Flaw]:
    """Give what is wrong with `drafts` beyond the flaws that are `known`, and their consequences, already."""
    return (one.flaw for one in check_meaning(drafts, known, closed=closed))


def check_meaning(drafts: Sequence[Draft], known: Collection[Flaw], *, closed: bool) -> Iterator[Unsound]:
    """Give the problems of `drafts`, as `check_drafts` does."""
    yield from _check_duplicates(drafts)
    nesting = {d.spec.name: d.spec for d in drafts if isinstance(d.spec, Group)}
    groups = {name: group.type for name, group in nesting.items()}
    declared = {(d.kind, d.metadata.name) for d in drafts}
    places = _Said(known)
    for draft in drafts:
        said = places.within(draft)
        for problem in [
            *_check_alone(draft),
            *_check_nesting(draft, nesting),
            *_check_references(draft, groups, declared, closed=closed),
        ]:
            one = _unsound(draft, problem)
            if not said.covers(one.flaw.key):
                yield one


def _unsound(draft: Draft, problem: Problem) -> Unsound:
    key = f"metadata.{problem.path}" if problem.path in _OF_METADATA else f"spec.{problem.path}"
    return Unsound(draft, problem, Flaw(draft.file, line_of(draft.node, key), key, problem.message))


def _check_duplicates(drafts: Sequence[Draft]) -> Iterator[Unsound]:
    """Find names that are given twice, or look as if they were."""
    first: dict[tuple[Kind, str], Draft] = {}
    for draft in drafts:
        name = draft.metadata.name
        if not name:
            continue
        earlier = first.setdefault((draft.kind, skeleton(name)), draft)
        if earlier is draft:
            continue
        place = f"{earlier.file}:{line_of(earlier.node, 'metadata.name')}"
        twin = "" if earlier.metadata.name == name else f' as "{earlier.metadata.name}", which looks the same,'
        message = f'{draft.kind.name} "{name}" stands{twin} in {place} too; {"rename" if twin else "keep"} one'
        yield _unsound(draft, Problem("name", message))


def _check_alone(draft: Draft) -> list[Problem]:
    spec = draft.spec
    if isinstance(spec, RulesPolicy | SettingsPolicy | ReusableCertificate | Group):
        return [*_check_kernel(spec), *check_written(spec, named=True)]
    name, description = draft.metadata.name, draft.metadata.description
    return [
        *texts.check_name("name", name),
        *texts.check_new_name("name", name),
        *texts.check_description("description", description),
    ]


def _check_kernel(spec: RulesPolicy | SettingsPolicy | ReusableCertificate | Group) -> list[Problem]:
    if isinstance(spec, RulesPolicy):
        return checks.check_rules_policy(spec, most_rules=checks.MOST_RULES)  # the server knows what it allows
    if isinstance(spec, SettingsPolicy):
        return checks.check_settings_policy(spec)
    if isinstance(spec, ReusableCertificate):
        return checks.check_reusable_certificate(spec)
    return checks.check_group(spec)


def _check_nesting(draft: Draft, groups: Mapping[str, Group]) -> list[Problem]:
    """Check a group against those of the set that it nests; a set decides nothing by others, which may be on the server."""
    if not isinstance(draft.spec, Group):
        return []
    unknown = {f"groups[{i}]" for i, name in enumerate(draft.spec.groups) if name not in groups}
    return [problem for problem in checks.check_nesting(draft.spec, groups) if problem.path not in unknown]


def _check_references(
    draft: Draft, groups: Mapping[str, GroupType], declared: Collection[tuple[Kind, str]], *, closed: bool
) -> list[Problem]:
    """Check what a policy names; in a set that is not closed, what it does not hold may be on the server."""
    policy = draft.spec
    if not isinstance(policy, RulesPolicy | SettingsPolicy):
        return []
    include = [target.group for target in policy.assignments.include]
    exclude = [target.group for target in policy.assignments.exclude]
    tolerated = {
        f"assignments.{field}[{i}].group"
        for field, names in (("include", include), ("exclude", exclude))
        for i, name in enumerate(names)
        if name not in groups and name not in checks.BUILT_IN_GROUPS
        if not closed or (Kind.Group, name) in declared
    }
    certificates = {name for kind, name in declared if kind is Kind.ReusableCertificate}
    if not closed and isinstance(policy, RulesPolicy):
        certificates |= {rule.detection.certificate.reusable for rule in policy.rules if rule.detection.certificate}
    return [p for p in checks.check_references(policy, groups, certificates) if p.path not in tolerated]


class _Said:
    """The places of flaws that are known, by file and line."""

    def __init__(self, known: Collection[Flaw]) -> None:
        self._of_file: dict[str, list[tuple[int, str]]] = {}
        for flaw in sorted(known):
            self._of_file.setdefault(flaw.file, []).append((flaw.line, flaw.key))

    def within(self, draft: Draft) -> "_Keys":
        """Give the keys that flaws within the lines of a document are about."""
        places = self._of_file.get(draft.file, [])
        first, last = (bisect_left(places, (line, "")) for line in (draft.lines.start, draft.lines.stop))
        return _Keys(key for _, key in places[first:last])


class _Keys:
    """Keys of a document that flaws are about."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._keys = frozenset(keys)
        self._around = {part for key in self._keys for part in _parts(key)}

    def covers(self, key: str) -> bool:
        """Tell whether a flaw speaks of `key`, of what holds it, or of what is in it."""
        return key in self._around or not self._keys.isdisjoint(_parts(key))


def _parts(key: str) -> Iterator[str]:
    """Give a key, all that holds it, and the whole document."""
    yield key
    for mark in _STEP.finditer(key):
        yield key[: mark.start()]
    yield ""
