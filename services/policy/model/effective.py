"""From everything that is authored to the document of one device.

- What applies is decided by the kernel, once for each set of memberships: devices of the same groups share the work.
- A device that is not enrolled gets a document without settings and rules. One that is quarantined gets such a document too, and
  loses its component in time, as one that policies reach no more.
- Who is not bound to the device is still one of all users: a rule for everybody is for them too. They do not make a
  device provisioned; that takes settings for the device itself or for a user who is bound to it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from elevation.assignment import Memberships, applicable
from elevation.document import PolicyDocument, UserPolicy
from elevation.filters import Test, compile_filter
from elevation.model import (
    Assignments,
    Attributes,
    Device,
    Group,
    ReusableCertificate,
    RulesPolicy,
    SettingsPolicy,
    User,
)
from elevation.settings import merge
from services.policy.model.bundle import Bundle, Contents
from services.policy.model.delivery import Desired
from services.policy.model.directory import DirectoryDevice
from services.policy.model.memberships import MembershipIndex
from services.policy.model.objects import Corpus

Reach = tuple[frozenset[str], frozenset[str], frozenset[str]]
"""All by which policies reach somebody: groups of the device, groups of the user, and filters that hold."""

Shape = tuple[Reach, ...]
"""What reaches the device itself, whoever comes to it, and each of its users by their names; empty: nothing does.
Devices of one shape get the same document but for names and times."""


_NOTHING: Reach = (frozenset(), frozenset(), frozenset())
_QUARANTINED: Shape = (_NOTHING,)
"""What reaches a device that is quarantined; what policies reach has two reaches at least."""


@dataclass(frozen=True, slots=True)
class Effective:
    """Hold the document of a device, and the policies that it is made of."""

    document: PolicyDocument
    bundle: Bundle
    ends: bool
    """Whether policies reach the device and none gives it settings: the document says when the component is to go."""


@dataclass(frozen=True, slots=True)
class _Applying:
    """Hold what applies to one user, with the names of the settings policies that were merged."""

    policy: UserPolicy
    settings_policies: tuple[str, ...]


class EffectivePolicies:
    """Work out documents from one state of policies and groups.

    `index` knows who is in which group; `named` are the groups of all assignments, and `filters` their filters by text.
    """

    def __init__(self, corpus: Corpus, groups: Mapping[str, Group], index: MembershipIndex | None = None) -> None:
        """Take up policies and groups; `index` spares the work of reading the groups again."""
        self._policies: tuple[SettingsPolicy | RulesPolicy, ...] = (
            *(stored.content for stored in corpus.settings_policies),
            *(stored.content for stored in corpus.rules_policies),
        )
        self._settings = {stored.name: stored.content for stored in corpus.settings_policies}
        self._rules_policies = {stored.name: stored.content for stored in corpus.rules_policies}
        self._revisions = {stored.name: stored.about.revision for stored in corpus.rules_policies}
        self._settings_revisions = {stored.name: stored.about.revision for stored in corpus.settings_policies}
        self._certificates = {stored.name: stored.content for stored in corpus.certificates}
        self._certificates_of = {name: _certificates_of(policy) for name, policy in self._rules_policies.items()}
        self._basis = corpus, groups
        self.index = index or MembershipIndex(groups.values())
        self.named = frozenset(group for policy in self._policies for group in _groups_named(policy.assignments))
        self.filters = _filters(include.filter for policy in self._policies for include in policy.assignments.include)
        self._shared: dict[Reach, _Applying] = {}
        self._bundles: dict[tuple[object, ...], Bundle] = {}

    def document(self, device: DirectoryDevice, *, leaves: datetime | None = None) -> PolicyDocument:
        """Return the document of a device."""
        return self.effective(device, leaves=leaves).document

    def effective(self, device: DirectoryDevice, *, leaves: datetime | None = None) -> Effective:
        """Return the document of a device, everything in it sorted, and the policies that it is made of.

        Without settings it says when the component is to go: as the directory says, or else at `leaves`.
        """
        if not governed(device):
            time = device.deprovision_time or leaves if device.enrolled else None
            empty = PolicyDocument(device.device_id, device.name, UserPolicy("", None), deprovision_time=time)
            return Effective(empty, self._bundle((), empty), ends=device.enrolled)
        known = self._known(device)
        users = [self._applying(known, User(name, self.index.of_user(name))) for name in sorted(device.users)]
        provisioned = any(user.policy.settings is not None for user in (self._applying(known, None), *users))
        any_user = self._applying(known, User(""))
        if not provisioned:
            any_user = _Applying(replace(any_user.policy, settings=None), ())
        policies = [applying.policy for applying in (any_user, *users)]
        leaves = None if provisioned else device.deprovision_time or leaves
        document = self._document(device, policies, deprovision_time=leaves)
        return Effective(document, self._bundle((any_user, *users), document), ends=not provisioned)

    def memberships(self, device: DirectoryDevice, user: str = "") -> Memberships:
        """Return what decides which policies reach a user on a device; who is not bound to it is one of all users."""
        name = user if user in device.users else ""
        return Memberships.of(self._known(device), User(name, self.index.of_user(name)))

    def settings_policies(self, device: DirectoryDevice, user: str = "") -> tuple[SettingsPolicy, ...]:
        """Return the settings policies that are merged for a user on a device."""
        name = user if user in device.users else ""
        applying = self._applying(self._known(device), User(name, self.index.of_user(name)))
        return tuple(self._settings[name] for name in applying.settings_policies)

    def rests_on(self, corpus: Corpus, groups: Mapping[str, Group]) -> bool:
        """Tell whether this was worked out from these policies and groups."""
        return self._basis[0] is corpus and self._basis[1] is groups

    def shape(self, device: DirectoryDevice) -> Shape:
        """Return what the document of a device depends on, but for names and times."""
        if not governed(device):
            return _QUARANTINED if device.enrolled else ()
        known = self._known(device)
        holding = self._holding(known.attributes)
        users = (User(name, self.index.of_user(name)) for name in sorted(device.users))
        everybody = (Memberships.of(known, user) for user in (None, User(""), *users))
        named = self.named
        return tuple((each.device_groups & named, each.user_groups & named, holding) for each in everybody)

    def _known(self, device: DirectoryDevice) -> Device:
        attributes = {**device.attributes, "name": device.name}
        return Device(device.name, self.index.of_device(device.name, attributes), attributes)

    def _holding(self, attributes: Attributes) -> frozenset[str]:
        return frozenset(text for text, test in self.filters.items() if test(attributes))

    def _document(
        self, device: DirectoryDevice, policies: Sequence[UserPolicy], *, deprovision_time: datetime | None
    ) -> PolicyDocument:
        rules_policies = tuple(self._named(policies))
        return PolicyDocument(
            device_id=device.device_id,
            device_name=device.name,
            any_user=policies[0],
            users=tuple(policies[1:]),
            rules_policies=rules_policies,
            revisions={policy.name: self._revisions[policy.name] for policy in rules_policies},
            certificates=tuple(self._certificates_named_by(rules_policies)),
            deprovision_time=deprovision_time,
        )

    def _bundle(self, applying: Iterable[_Applying], document: PolicyDocument) -> Bundle:
        """Return the bundle of a document; devices with the same policies share it."""
        settings = tuple(sorted({name for user in applying for name in user.settings_policies}))
        stale_after = min(
            (
                user.settings.stale_after
                for user in (document.any_user, *document.users)
                if user.settings is not None and user.settings.stale_after is not None
            ),
            default=None,
        )
        key = (settings, tuple(document.revisions), stale_after)
        if key not in self._bundles:
            revisions = {name: self._settings_revisions[name] for name in settings}
            contents = Contents(settings=revisions, rules=document.revisions, stale_after=stale_after)
            self._bundles[key] = Bundle.of(contents)
        return self._bundles[key]

    def _applying(self, device: Device, user: User | None) -> _Applying:
        memberships = Memberships.of(device, user)
        key = (memberships.device_groups, memberships.user_groups, self._holding(memberships.attributes))
        if key not in self._shared:
            self._shared[key] = self._work_out(memberships)
        found = self._shared[key]
        return replace(found, policy=replace(found.policy, user=user.name)) if user and user.name else found

    def _work_out(self, memberships: Memberships) -> _Applying:
        found = applicable(self._policies, self.index.types, memberships)
        policy = UserPolicy(
            user="",
            settings=merge(found.settings),
            device_targeted=tuple(sorted(policy.name for policy, user_targeted in found.rules if not user_targeted)),
            user_targeted=tuple(sorted(policy.name for policy, user_targeted in found.rules if user_targeted)),
        )
        return _Applying(policy, tuple(settings.name for settings in found.settings))

    def _named(self, users: Iterable[UserPolicy]) -> Iterator[RulesPolicy]:
        names = {name for user in users for name in (*user.device_targeted, *user.user_targeted)}
        return (self._rules_policies[name] for name in sorted(names))

    def _certificates_named_by(self, policies: Iterable[RulesPolicy]) -> Iterator[ReusableCertificate]:
        named = frozenset[str]().union(*(self._certificates_of[policy.name] for policy in policies))
        return (self._certificates[name] for name in sorted(named & self._certificates.keys()))


def desired_of(document: PolicyDocument) -> Desired:
    """Say what the settings in a document want of the device."""
    settings = [user.settings for user in (document.any_user, *document.users) if user.settings is not None]
    if not settings:
        return Desired.NONE
    return Desired.ON if any(found.enabled for found in settings) else Desired.OFF


def governed(device: DirectoryDevice) -> bool:
    """Tell whether policies reach the device at all."""
    return device.enrolled and not device.quarantined


def _certificates_of(policy: RulesPolicy) -> frozenset[str]:
    conditions = (rule.detection.certificate for rule in policy.rules)
    return frozenset(condition.reusable for condition in conditions if condition is not None and condition.reusable)


def _groups_named(assignments: Assignments) -> Iterator[str]:
    yield from (include.group for include in assignments.include)
    yield from (exclude.group for exclude in assignments.exclude)


def _filters(texts: Iterable[str]) -> dict[str, Test]:
    return {text: compile_filter(text) for text in set(texts) if text}
