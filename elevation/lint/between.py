"""What lint finds between policies that can meet on a device.

A message names no other policy: who may not see that one is told without its name. What is prepared of a policy is kept
until the policy, its certificates or the groups change.
"""

from collections.abc import Collection, Iterator, Mapping
from functools import partial

from elevation.lint.candidates import Candidates, Sort, sort_of
from elevation.lint.conflicts import find_ties, find_weak_winners, is_strong, wins_by_type
from elevation.lint.coverage import find_disagreements, find_uncovered
from elevation.lint.findings import Estate, Finding, Subject
from elevation.lint.meeting import Audience, GroupBook, Meetings
from elevation.lint.patience import go_on
from elevation.lint.recognition import Recognition, recognitions, reusables
from elevation.lint.shadows import find_shadow
from elevation.lint.subjects import RULES
from elevation.model import Group, Platform, ReusableCertificate, Rule, RulesPolicy, SettingsPolicy

Prepared = tuple[tuple[Platform, tuple[Rule, ...]], dict[str, ReusableCertificate], tuple[Recognition, ...]]
"""What counts of a policy, the certificates that it names, and its rules made ready: who gets it is another matter."""


class LintBetween:
    """Look at policies together; call it for one estate after the other."""

    def __init__(self) -> None:
        self._groups: dict[str, Group] = {}
        self._settings: dict[str, Audience] = {}
        self._meetings = Meetings()
        self._prepared: dict[str, Prepared] = {}
        self._candidates: dict[Platform, tuple[tuple[Recognition, ...], Candidates]] = {}

    def lint(self, estate: Estate, about: Collection[Subject] | None = None) -> Iterator[Finding]:
        """Find what goes wrong between policies; with `about`, at least all in which one of these has part."""
        self._prepare(estate)
        names = None if about is None else {subject.name for subject in about if subject.kind == RULES}
        settings = [
            (policy, self._settings[policy.name])
            for policy in sorted(estate.settings_policies, key=lambda policy: policy.name)
        ]
        yield from find_disagreements(settings)
        for policy in estate.rules_policies:
            go_on()
            yield from find_uncovered(policy, self._meetings.audiences[policy.name], settings)
        for _, candidates in self._candidates.values():
            for rule in _affected(candidates, names):
                go_on()
                yield from find_shadow(rule, candidates, self._meetings)
                yield from find_ties(rule, candidates, self._meetings)
                yield from find_weak_winners(rule, candidates, self._meetings)

    def _prepare(self, estate: Estate) -> None:
        if self._groups != estate.groups:
            self._groups, self._settings = dict(estate.groups), {}
            self._meetings.update({})
        book = GroupBook(self._groups)
        self._settings = {
            policy.name: _audience(self._settings.get(policy.name), policy, None, book)
            for policy in estate.settings_policies
        }
        known = self._meetings.audiences
        self._meetings.update(
            {
                policy.name: _audience(known.get(policy.name), policy, policy.platform, book)
                for policy in estate.rules_policies
            }
        )
        self._prepared = {
            policy.name: _prepared(self._prepared.get(policy.name), policy, estate.certificates)
            for policy in estate.rules_policies
        }
        self._candidates = {platform: self._index(platform) for platform in Platform}

    def _index(self, platform: Platform) -> tuple[tuple[Recognition, ...], Candidates]:
        rules = tuple(
            rule
            for name, ((its, _), _, found) in self._prepared.items()
            if its is platform and self._meetings.audiences[name].ways
            for rule in found
        )
        known = self._candidates.get(platform)
        if known is not None and known[0] == rules:
            return known
        return rules, Candidates(rules, None if known is None else known[1].names)


def _audience(
    known: Audience | None, policy: SettingsPolicy | RulesPolicy, platform: Platform | None, book: GroupBook
) -> Audience:
    go_on()
    if known is not None and known.platform is platform and known.assignments == policy.assignments:
        return known
    return Audience(policy.assignments, platform, book)


def _prepared(known: Prepared | None, policy: RulesPolicy, certificates: Mapping[str, ReusableCertificate]) -> Prepared:
    used = {name: certificates[name] for name in reusables(policy) if name in certificates}
    what_counts = (policy.platform, policy.rules)
    if known is not None and known[0] == what_counts and known[1] == used:
        return known
    return what_counts, used, recognitions(policy, certificates)


def _affected(candidates: Candidates, names: Collection[str] | None) -> list[Recognition]:
    """List the rules about which something may be found in which these policies have part; None: all."""
    if names is None:
        return candidates.rules
    found: dict[int, Recognition] = {}
    for rule in (rule for rule in candidates.rules if rule.policy.name in names):
        go_on()
        found[id(rule)] = rule
        for others in (candidates.narrower(rule), candidates.sharing(rule, partial(_may_lose, sort_of(rule)))):
            found.update((id(other), other) for other in others)
    return list(found.values())


def _may_lose(about: Sort, sort: Sort) -> bool:
    """Tell whether something may be found about rules of a sort (L20, L21) that a rule of the other has part in."""
    if sort.denies or about.denies:
        return False
    return wins_by_type(about, sort) or (is_strong(about) and not is_strong(sort))
