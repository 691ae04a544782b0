"""The groups that policies are assigned to: who is in them decides whom policies reach."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from services.policy.model.objects import Corpus, targets_of


@dataclass(frozen=True, slots=True)
class UsedGroups:
    """Hold every group that assignments include or exclude, with the filters that narrow it, sorted."""

    revision: int = 0
    filters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def used_groups(corpus: Corpus) -> UsedGroups:
    """Collect the groups that policies are assigned to."""
    filters: dict[str, set[str]] = {}
    assigned = [stored.content.assignments for stored in corpus.settings_policies]
    assigned += [stored.content.assignments for stored in corpus.rules_policies]
    for assignments in assigned:
        for name in targets_of(assignments):
            filters.setdefault(name, set())
        for include in assignments.include:
            if include.filter:
                filters[include.group].add(include.filter)
    return UsedGroups(corpus.revision, {name: tuple(sorted(filters[name])) for name in sorted(filters)})
