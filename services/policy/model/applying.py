"""Which policies reach somebody, and what their settings come to: worked out once for all who are reached alike.

From one state of what is authored to the next, a policy is looked at again only if it is assigned in another way, or to a
group that came, went or is of another type now; and settings are merged again only where other ones take part.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from elevation.assignment import applicable, type_of
from elevation.document import UserPolicy
from elevation.filters import Test, compile_filter
from elevation.model import Assignments, GroupType, RulesPolicy, Settings, SettingsPolicy
from elevation.settings import merge
from services.policy.model.objects import targets_of

AnyPolicy = SettingsPolicy | RulesPolicy
Key = tuple[type[AnyPolicy], str]


@dataclass(frozen=True, slots=True)
class Standing:
    """Say where somebody stands: all by which policies reach them, groups of device and user, and filters that hold."""

    device_groups: frozenset[str]
    user_groups: frozenset[str]
    holding: frozenset[str]

    def finds(self, text: str) -> bool:
        """Tell whether a filter finds the device."""
        return text in self.holding

    def within(self, named: frozenset[str], filters: frozenset[str]) -> "Standing":
        """Keep to some groups and filters."""
        return Standing(self.device_groups & named, self.user_groups & named, self.holding & filters)


@dataclass(frozen=True, slots=True)
class Names:
    """Name the policies that reach somebody, sorted: of settings, and of rules by what they are targeted at."""

    settings: tuple[str, ...] = ()
    device_targeted: tuple[str, ...] = ()
    user_targeted: tuple[str, ...] = ()

    def instead(self, left_out: Sequence[Key], added: "Names") -> "Names":
        """Put policies in the place of those that are left out."""
        settings = frozenset(name for kind, name in left_out if kind is SettingsPolicy)
        rules = frozenset(name for kind, name in left_out if kind is RulesPolicy)
        return Names(
            _instead(self.settings, settings, added.settings),
            _instead(self.device_targeted, rules, added.device_targeted),
            _instead(self.user_targeted, rules, added.user_targeted),
        )


@dataclass(frozen=True, slots=True)
class Applying:
    """Hold what applies to somebody, with the names of the settings policies that were merged."""

    policy: UserPolicy
    """Without a name."""
    merged: tuple[str, ...]

    @classmethod
    def of(cls, names: Names, settings: Settings | None) -> Self:
        """Take the names of policies, and what the settings among them come to."""
        return cls(UserPolicy("", settings, names.device_targeted, names.user_targeted), names.settings)

    @property
    def names(self) -> Names:
        """Name the policies."""
        return Names(self.merged, self.policy.device_targeted, self.policy.user_targeted)

    @property
    def rules(self) -> tuple[str, ...]:
        """Name the rules policies."""
        return (*self.policy.device_targeted, *self.policy.user_targeted)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Before:
    """Hold what was known of the state before, by standings within the groups and filters that both states name."""

    known: Mapping[Standing, Applying] = field(default_factory=dict)
    named: frozenset[str] = frozenset()
    filters: frozenset[str] = frozenset()
    unsettled: tuple[Key, ...] = ()
    """Policies that came or went, or may reach others than before."""
    reworded: frozenset[str] = frozenset()
    """Settings policies that say other things."""


class Applications:
    """Know what applies by each standing.

    `named` are the groups of all assignments, `filters` their filters by text; `known` is what was worked out so far.
    """

    def __init__(
        self, policies: Iterable[AnyPolicy], types: Mapping[str, GroupType], before: "Applications | None" = None
    ) -> None:
        """Take up policies and groups; what is the same as in the state `before` is not worked out again."""
        self.policies: Mapping[Key, AnyPolicy] = {(type(policy), policy.name): policy for policy in policies}
        self.types = types
        self.named = frozenset(group for policy in self.policies.values() for group in targets_of(policy.assignments))
        self.filters = _filters(policy.assignments for policy in self.policies.values())
        self.known: dict[Standing, Applying] = {}
        # Of the state before nothing but its answers is kept: with it there would stay all that went before it.
        self._before = self._taken_over(before) if before else _Before()

    def by(self, standing: Standing) -> Applying:
        """Return what applies by a standing within `named` and `filters`."""
        found = self.known.get(standing)
        if found is None:
            found = self.known[standing] = self._work_out(standing)
        return found

    def _taken_over(self, before: "Applications") -> "_Before":
        now, old = self.policies, before.policies
        named, filters = self.named & before.named, frozenset(self.filters.keys() & before.filters.keys())
        same = (named, filters) == (before.named, frozenset(before.filters))
        known = before.known if same else {key.within(named, filters): found for key, found in before.known.items()}
        return _Before(
            known=known,
            named=named,
            filters=filters,
            unsettled=tuple(key for key in now.keys() | old.keys() if self._unsettled(key, before)),
            reworded=frozenset(
                name
                for (kind, name), policy in now.items()
                if kind is SettingsPolicy and old.get((kind, name)) != policy
            ),
        )

    def _unsettled(self, key: Key, before: "Applications") -> bool:
        """Tell whether a policy may reach others than before."""
        old, now = before.policies.get(key), self.policies.get(key)
        if old is None or now is None or old.assignments != now.assignments:
            return True
        if self.types is before.types:
            return False
        groups = targets_of(now.assignments)
        return any(type_of(group, self.types) is not type_of(group, before.types) for group in groups)

    def _work_out(self, standing: Standing) -> Applying:
        before = self._before
        base = before.known.get(standing.within(before.named, before.filters))
        if base is None:
            return self._applying(self._reaching(self.policies, standing))
        names = base.names
        if before.unsettled:
            names = names.instead(before.unsettled, self._reaching(before.unsettled, standing))
        if names.settings != base.names.settings or not before.reworded.isdisjoint(names.settings):
            return self._applying(names)
        return base if names == base.names else Applying.of(names, base.policy.settings)

    def _reaching(self, keys: Iterable[Key], standing: Standing) -> Names:
        """Name those of the policies that reach somebody."""
        policies = (self.policies[key] for key in keys if key in self.policies)
        found = applicable(policies, self.types, standing)
        return Names(
            tuple(sorted(policy.name for policy in found.settings)),
            tuple(sorted(policy.name for policy, user_targeted in found.rules if not user_targeted)),
            tuple(sorted(policy.name for policy, user_targeted in found.rules if user_targeted)),
        )

    def _applying(self, names: Names) -> Applying:
        policies = (self.policies[SettingsPolicy, name] for name in names.settings)
        return Applying.of(names, merge(policy for policy in policies if isinstance(policy, SettingsPolicy)))


def _instead(names: tuple[str, ...], left_out: frozenset[str], added: tuple[str, ...]) -> tuple[str, ...]:
    if not added and left_out.isdisjoint(names):
        return names
    return tuple(sorted([*(name for name in names if name not in left_out), *added]))


def _filters(assignments: Iterable[Assignments]) -> Mapping[str, Test]:
    texts = {include.filter for each in assignments for include in each.include}
    return {text: compile_filter(text) for text in texts if text}
