"""Check what documents mean, each by itself and all together, and say where in the files a problem stands."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

from elevation import checks, texts
from elevation.model import Group, Problem, ReusableCertificate, RulesPolicy, SettingsPolicy
from elevation.words import GroupType
from epmctl.documents.model import Draft, Kind
from epmctl.documents.places import line_of
from epmctl.errors import Flaw

_OF_METADATA: Final = frozenset({"name", "description"})


def check_drafts(drafts: Sequence[Draft], known: Collection[Flaw], *, closed: bool) -> Iterator[Flaw]:
    """Give what is wrong with `drafts` beyond the flaws that are `known`, and their consequences, already."""
    yield from _check_duplicates(drafts)
    nesting = {d.spec.name: d.spec for d in drafts if isinstance(d.spec, Group)}
    groups = {name: group.type for name, group in nesting.items()}
    declared = {(d.kind, d.metadata.name) for d in drafts}
    for draft in drafts:
        said = [flaw.key for flaw in known if flaw.file == draft.file and flaw.line in draft.lines]
        for problem in [
            *_check_alone(draft),
            *_check_nesting(draft, nesting),
            *_check_references(draft, groups, declared, closed=closed),
        ]:
            key = problem.path if problem.path in _OF_METADATA else f"spec.{problem.path}"
            key = f"metadata.{key}" if problem.path in _OF_METADATA else key
            if not any(_covers(flaw, key) for flaw in said):
                yield Flaw(draft.file, line_of(draft.node, key), key, problem.message)


def _check_duplicates(drafts: Sequence[Draft]) -> Iterator[Flaw]:
    first: dict[tuple[Kind, str], Draft] = {}
    for draft in drafts:
        if not draft.metadata.name:
            continue
        earlier = first.setdefault((draft.kind, draft.metadata.name), draft)
        if earlier is not draft:
            place = f"{earlier.file}:{line_of(earlier.node, 'metadata.name')}"
            message = f'{draft.kind.name} "{draft.metadata.name}" stands in {place} too; keep one'
            yield Flaw(draft.file, line_of(draft.node, "metadata.name"), "metadata.name", message)


def _check_alone(draft: Draft) -> list[Problem]:
    spec = draft.spec
    if isinstance(spec, RulesPolicy):
        return checks.check_rules_policy(spec, most_rules=checks.MOST_RULES)  # the server knows what it allows
    if isinstance(spec, SettingsPolicy):
        return checks.check_settings_policy(spec)
    if isinstance(spec, ReusableCertificate):
        return checks.check_reusable_certificate(spec)
    if isinstance(spec, Group):
        return checks.check_group(spec)
    name, description = draft.metadata.name, draft.metadata.description
    return [*texts.check_name("name", name), *texts.check_description("description", description)]


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


def _covers(said: str, key: str) -> bool:
    """Tell whether a flaw at `said` speaks of `key`, of what holds it, or of what is in it."""
    shorter, longer = sorted((said, key), key=len)
    return longer == shorter or (longer.startswith(shorter) and longer[len(shorter)] in ".[") or not shorter
