"""From everything that is authored to the document of one device.

- What applies is decided by the kernel, once for each set of memberships: devices of the same groups share the work.
- A device that is not enrolled gets a document without settings and rules. One that is quarantined gets such a document too, and
  loses its component in time, as one that policies reach no more.
- Who is not bound to the device is still one of all users: a rule for everybody is for them too. They do not make a
  device provisioned; that takes settings for the device itself or for a user who is bound to it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from elevation.assignment import Memberships
from elevation.document import PolicyDocument, UserPolicy
from elevation.memberships import MembershipIndex
from elevation.model import Attributes, Device, Group, ReportingScope, RulesPolicy, SettingsPolicy, User
from services.policy.model.applying import AnyPolicy, Applications, Applying, Standing
from services.policy.model.bundle import Bundle, Contents
from services.policy.model.delivery import Desired
from services.policy.model.directory import DirectoryDevice
from services.policy.model.objects import AnyContent, Corpus, Stored, certificates_named

Shape = tuple[Standing, ...]
"""What reaches the device itself, whoever comes to it, and each of its users by their names; empty: nothing does.
Devices of one shape get the same document but for names and times."""

_QUARANTINED: Shape = (Standing(frozenset(), frozenset(), frozenset()),)
"""What reaches a device that is quarantined; what policies reach has two standings at least."""


@dataclass(frozen=True, slots=True)
class Effective:
    """Hold the document of a device, and the policies that it is made of."""

    document: PolicyDocument
    bundle: Bundle
    ends: bool
    """Whether policies reach the device and none gives it settings: the document says when the component is to go."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Say what a document is made of, but for names and times; equal recipes of one installation make equal documents."""

    enrolled: bool
    applying: tuple[Applying, ...]
    """As the shape has them; none where policies do not reach the device at all."""
    revisions: tuple[tuple[str, int], ...]
    """Names and revisions of all settings policies, then of all rules policies, then of all certificates in it."""


class EffectivePolicies:
    """Work out documents from one state of policies and groups.

    `index` knows who is in which group; `named` are the groups of all assignments, and `filters` their filters by text.
    """

    def __init__(self, corpus: Corpus, groups: Mapping[str, Group], before: "EffectivePolicies | None" = None) -> None:
        """Take up policies and groups; what is the same as in the state `before` is not worked out again."""
        self.basis = corpus, groups
        self._settings = {stored.name: stored for stored in corpus.settings_policies}
        self.rules = {stored.name: stored for stored in corpus.rules_policies}
        self._certificates = {stored.name: stored for stored in corpus.certificates}
        self.certificates_of = _certificates_of(self.rules, before)
        self.index = _index(groups, before)
        settings, rules = corpus.settings_policies, corpus.rules_policies
        policies: tuple[AnyPolicy, ...] = (
            *(stored.content for stored in settings),
            *(stored.content for stored in rules),
        )
        self.applications: Applications = Applications(
            policies, self.index.types, before.applications if before else None
        )
        self.named, self.filters = self.applications.named, self.applications.filters

    def after(self, corpus: Corpus, groups: Mapping[str, Group]) -> "EffectivePolicies":
        """Return what follows from another state of policies and groups, at the cost of what is not the same."""
        return EffectivePolicies(corpus, groups, self)

    def document(self, device: DirectoryDevice, *, leaves: datetime | None = None) -> PolicyDocument:
        """Return the document of a device."""
        return self.effective(device, leaves=leaves).document

    def effective(self, device: DirectoryDevice, *, leaves: datetime | None = None) -> Effective:
        """Return the document of a device, everything in it sorted, and the policies that it is made of.

        Without settings it says when the component is to go: as the directory says, or else at `leaves`.
        """
        applying = self._applying(self.shape(device))
        if not applying:
            time = device.deprovision_time or leaves if device.enrolled else None
            empty = PolicyDocument(device.device_id, device.name, UserPolicy("", None), deprovision_time=time)
            return Effective(empty, _bundle({}, empty), ends=device.enrolled)
        own, any_user, *users = applying
        provisioned = any(each.policy.settings is not None for each in (own, *users))
        if not provisioned:
            any_user = Applying(replace(any_user.policy, settings=None), ())
        named = zip(users, sorted(device.users), strict=True)
        policies = [any_user.policy, *(replace(each.policy, user=name) for each, name in named)]
        leaves = None if provisioned else device.deprovision_time or leaves
        document = self._document(device, policies, deprovision_time=leaves)
        merged = sorted({name for each in (any_user, *users) for name in each.merged})
        revisions = {name: self._settings[name].about.revision for name in merged}
        return Effective(document, _bundle(revisions, document), ends=not provisioned)

    def recipe(self, shape: Shape) -> Recipe:
        """Return what documents of devices of a shape are made of."""
        applying = self._applying(shape)
        settings = {name for each in applying for name in each.merged}
        rules = {name for each in applying for name in each.rules}
        stored: tuple[Stored[AnyContent], ...] = (
            *(self._settings[name] for name in sorted(settings)),
            *(self.rules[name] for name in sorted(rules)),
            *(self._certificates[name] for name in self._certificates_in(rules)),
        )
        revisions = tuple((each.name, each.about.revision) for each in stored)
        return Recipe(bool(shape), applying, revisions)

    def memberships(self, device: DirectoryDevice, user: str = "") -> Memberships:
        """Return what decides which policies reach a user on a device; who is not bound to it is one of all users."""
        name = user if user in device.users else ""
        return Memberships.of(self._known(device), User(name, self.index.of_user(name)))

    def settings_policies(self, device: DirectoryDevice, user: str = "") -> tuple[SettingsPolicy, ...]:
        """Return the settings policies that are merged for a user on a device."""
        memberships = self.memberships(device, user)
        applying = self.applications.by(self._standing(memberships, self._holding(memberships.attributes)))
        return tuple(self._settings[name].content for name in applying.merged)

    def rests_on(self, corpus: Corpus, groups: Mapping[str, Group]) -> bool:
        """Tell whether this was worked out from these policies and groups."""
        return self.basis[0] is corpus and self.basis[1] is groups

    def shape(self, device: DirectoryDevice) -> Shape:
        """Return what the document of a device depends on, but for names and times."""
        if not governed(device):
            return _QUARANTINED if device.enrolled else ()
        known = self._known(device)
        holding = self._holding(known.attributes)
        users = (User(name, self.index.of_user(name)) for name in sorted(device.users))
        return tuple(self._standing(Memberships.of(known, user), holding) for user in (None, User(""), *users))

    def _known(self, device: DirectoryDevice) -> Device:
        attributes = attributes_of(device)
        return Device(device.name, self.index.of_device(device.name, attributes), attributes)

    def _holding(self, attributes: Attributes) -> frozenset[str]:
        return frozenset(text for text, test in self.filters.items() if test(attributes))

    def _standing(self, memberships: Memberships, holding: frozenset[str]) -> Standing:
        return Standing(memberships.device_groups & self.named, memberships.user_groups & self.named, holding)

    def _applying(self, shape: Shape) -> tuple[Applying, ...]:
        """Return what applies by each standing of a shape; nothing where policies do not reach the device."""
        return () if len(shape) < len((None, "")) else tuple(map(self.applications.by, shape))

    def _document(
        self, device: DirectoryDevice, policies: Sequence[UserPolicy], *, deprovision_time: datetime | None
    ) -> PolicyDocument:
        names = sorted({name for user in policies for name in (*user.device_targeted, *user.user_targeted)})
        return PolicyDocument(
            device_id=device.device_id,
            device_name=device.name,
            any_user=policies[0],
            users=tuple(policies[1:]),
            rules_policies=tuple(self.rules[name].content for name in names),
            revisions={name: self.rules[name].about.revision for name in names},
            certificates=tuple(self._certificates[name].content for name in self._certificates_in(names)),
            deprovision_time=deprovision_time,
        )

    def _certificates_in(self, rules_policies: Iterable[str]) -> list[str]:
        """Name the certificates that the rules of these policies name, and that are there."""
        named = frozenset[str]().union(*(self.certificates_of[name] for name in rules_policies))
        return sorted(named & self._certificates.keys())


def desired_of(document: PolicyDocument) -> Desired:
    """Say what the settings in a document want of the device."""
    settings = [user.settings for user in (document.any_user, *document.users) if user.settings is not None]
    if not settings:
        return Desired.NONE
    return Desired.ON if any(found.enabled for found in settings) else Desired.OFF


def scope_of(document: PolicyDocument) -> ReportingScope:
    """Return the widest scope by which anything may be reported from the device: for itself, for whoever comes, for its users."""
    users = (document.any_user, *document.users)
    told = {user.settings.reporting_scope for user in users if user.settings is not None}
    return next((scope for scope in reversed(ReportingScope) if scope in told), ReportingScope.NOTHING)


def attributes_of(device: DirectoryDevice) -> Attributes:
    """Return what filters ask of a device."""
    return {**device.attributes, "name": device.name}


def governed(device: DirectoryDevice) -> bool:
    """Tell whether policies reach the device at all."""
    return device.enrolled and not device.quarantined


def _index(groups: Mapping[str, Group], before: EffectivePolicies | None) -> MembershipIndex:
    if before is None:
        return MembershipIndex(groups.values())
    return before.index if before.basis[1] is groups else MembershipIndex(groups.values(), before.index)


def _certificates_of(
    rules: Mapping[str, Stored[RulesPolicy]], before: EffectivePolicies | None
) -> Mapping[str, frozenset[str]]:
    """Name the certificates of each policy; those of one that is the same object are not looked for again."""
    known = before.rules if before else {}
    return {
        name: before.certificates_of[name]
        if before and name in known and known[name].content is stored.content
        else certificates_named(stored.content)
        for name, stored in rules.items()
    }


def _bundle(settings: Mapping[str, int], document: PolicyDocument) -> Bundle:
    """Return the bundle of a document in which settings policies of these revisions are merged."""
    stale = (user.settings.stale_after for user in (document.any_user, *document.users) if user.settings is not None)
    stale_after = min((after for after in stale if after is not None), default=None)
    return Bundle.of(Contents(settings=settings, rules=document.revisions, stale_after=stale_after))
