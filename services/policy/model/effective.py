"""From everything that is authored to the document of one device.

- What applies is decided by the kernel, once for each set of memberships: devices of the same groups share the work.
- A device that is not enrolled gets a document without settings and rules.
- Who is not bound to the device is still one of all users: a rule for everybody is for them too. They do not make a
  device provisioned; that takes settings for the device itself or for a user who is bound to it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime

from elevation.assignment import Memberships, applicable
from elevation.document import PolicyDocument, UserPolicy
from elevation.filters import Test, compile_filter
from elevation.model import Device, Group, ReusableCertificate, RulesPolicy, SettingsPolicy, User
from elevation.settings import merge
from services.policy.model.delivery import Desired
from services.policy.model.directory import DirectoryDevice
from services.policy.model.memberships import MembershipIndex
from services.policy.model.objects import Corpus


class EffectivePolicies:
    """Work out documents from one state of policies and groups."""

    def __init__(self, corpus: Corpus, groups: Mapping[str, Group]) -> None:
        self._policies: tuple[SettingsPolicy | RulesPolicy, ...] = (
            *(stored.content for stored in corpus.settings_policies),
            *(stored.content for stored in corpus.rules_policies),
        )
        self._rules_policies = {stored.name: stored.content for stored in corpus.rules_policies}
        self._revisions = {stored.name: stored.about.revision for stored in corpus.rules_policies}
        self._certificates = {stored.name: stored.content for stored in corpus.certificates}
        self._certificates_of = {name: _certificates_of(policy) for name, policy in self._rules_policies.items()}
        self._groups = MembershipIndex(groups.values())
        self._filters = _filters(include.filter for policy in self._policies for include in policy.assignments.include)
        self._shared: dict[tuple[object, ...], UserPolicy] = {}

    def document(self, device: DirectoryDevice, *, leaves: datetime | None = None) -> PolicyDocument:
        """Return the document of a device, everything in it sorted.

        Without settings it says when the component is to go: as the directory says, or else at `leaves`.
        """
        if not device.enrolled:
            return PolicyDocument(device.device_id, device.name, UserPolicy("", None))
        attributes = {**device.attributes, "name": device.name}
        known = Device(device.name, self._groups.of_device(device.name, attributes), attributes)
        users = tuple(self._user_policy(known, User(name, self._groups.of_user(name))) for name in sorted(device.users))
        provisioned = any(user.settings is not None for user in (self._user_policy(known, None), *users))
        any_user = self._user_policy(known, User(""))
        if not provisioned:
            any_user = replace(any_user, settings=None)
        rules_policies = tuple(self._named((any_user, *users)))
        return PolicyDocument(
            device_id=device.device_id,
            device_name=device.name,
            any_user=any_user,
            users=users,
            rules_policies=rules_policies,
            revisions={policy.name: self._revisions[policy.name] for policy in rules_policies},
            certificates=tuple(self._certificates_named_by(rules_policies)),
            deprovision_time=None if provisioned else device.deprovision_time or leaves,
        )

    def _user_policy(self, device: Device, user: User | None) -> UserPolicy:
        memberships = Memberships.of(device, user)
        holding = frozenset(text for text, test in self._filters.items() if test(memberships.attributes))
        key = (memberships.device_groups, memberships.user_groups, holding)
        if key not in self._shared:
            self._shared[key] = self._work_out(memberships)
        return replace(self._shared[key], user=user.name) if user and user.name else self._shared[key]

    def _work_out(self, memberships: Memberships) -> UserPolicy:
        found = applicable(self._policies, self._groups.types, memberships)
        return UserPolicy(
            user="",
            settings=merge(found.settings),
            device_targeted=tuple(sorted(policy.name for policy, user_targeted in found.rules if not user_targeted)),
            user_targeted=tuple(sorted(policy.name for policy, user_targeted in found.rules if user_targeted)),
        )

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


def _certificates_of(policy: RulesPolicy) -> frozenset[str]:
    conditions = (rule.detection.certificate for rule in policy.rules)
    return frozenset(condition.reusable for condition in conditions if condition is not None and condition.reusable)


def _filters(texts: Iterable[str]) -> dict[str, Test]:
    return {text: compile_filter(text) for text in set(texts) if text}
