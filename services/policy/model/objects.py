"""What administrators author, as it is kept: the kernel's own policies and certificates, with what is known about each.

- A name is unique among the objects of its kind.
- `revision` is the one of the service in which the content (rules, settings, certificate, assignments) last changed; it
  only grows. `etag` changes with every write.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum
from typing import Generic, TypeAlias, TypeVar

from elevation.model import Assignments, ReusableCertificate, RulesPolicy, SettingsPolicy
from services.policy.model.requests import ElevationRequest

AnyContent: TypeAlias = SettingsPolicy | RulesPolicy | ReusableCertificate
# Covariant, so that one list may hold objects of several kinds.
Content = TypeVar("Content", bound=AnyContent, covariant=True)  # noqa: PLC0105 - the name is read everywhere
Item = TypeVar("Item", bound=AnyContent)
Key: TypeAlias = "tuple[type[AnyContent], str]"
"""By what an object is known: its kind and its name."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Name a kind of object: in documents, in prose, and as the contract spells one and many."""

    document: str
    noun: str
    one: str
    many: str


_KINDS: Mapping[type, Kind] = {
    SettingsPolicy: Kind("ElevationSettingsPolicy", "settings policy", "settings_policy", "settings_policies"),
    RulesPolicy: Kind("ElevationRulesPolicy", "rules policy", "rules_policy", "rules_policies"),
    ReusableCertificate: Kind(
        "ReusableCertificate", "reusable certificate", "reusable_certificate", "reusable_certificates"
    ),
}


def kind_of(content: type[Content]) -> Kind:
    """Return the kind of such content."""
    return _KINDS[content]


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """Say who made an object, who may see it and which state of it this is."""

    scope_tags: frozenset[str]
    labels: Mapping[str, str] = field(default_factory=dict)
    revision: int
    etag: str
    created: datetime
    updated: datetime
    updated_by: str
    created_by: str = ""
    applied_change: int = 0
    """Change after which the object was last as code says; 0 for never."""

    @property
    def change(self) -> int:
        """Return the number of the newest change, which the etag is the text of; 0 for what was never written."""
        return int(self.etag or 0)


@dataclass(frozen=True, slots=True)
class Stored(Generic[Content]):
    """Hold one object as it is kept."""

    content: Content
    about: About

    @property
    def name(self) -> str:
        """Return the object's name."""
        return self.content.name


@dataclass(frozen=True, slots=True)
class Corpus:
    """Hold everything that is authored, at one revision of the service: what effective policies are worked out from.

    Beside it stand the requests that are approved, from which the grants in documents follow.
    """

    revision: int
    settings_policies: tuple[Stored[SettingsPolicy], ...] = ()
    rules_policies: tuple[Stored[RulesPolicy], ...] = ()
    certificates: tuple[Stored[ReusableCertificate], ...] = ()
    approved: tuple[ElevationRequest, ...] = ()

    def is_authored_as(self, other: "Corpus") -> bool:
        """Tell whether the same is authored in both."""
        mine = self.settings_policies, self.rules_policies, self.certificates
        return mine == (other.settings_policies, other.rules_policies, other.certificates)


class Action(Enum):
    """What becomes of an object that is written."""

    CREATED = "created"
    UPDATED = "updated"
    ASSIGNED = "assigned"
    """Its assignments changed and nothing else did."""
    DELETED = "deleted"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change(Generic[Content]):
    """Turn one object into another, under one revision; no `before` creates it, no `after` deletes it."""

    before: Stored[Content] | None
    after: Stored[Content] | None
    revision: int
    actor: str
    now: datetime
    reason: str = ""
    """Why, in the words of who made the change."""
    rolled_back_to: int = 0
    """Change whose content was taken up again; 0 where none was."""
    as_code: bool = False
    duplicate_of: str = ""
    """Name of the object that this one began as a duplicate of; empty where it did not."""

    @property
    def subject(self) -> Stored[Content]:
        """Return the object as it is after the change, or as it was before it was deleted."""
        subject = self.after or self.before
        if subject is None:
            raise ValueError("a change without an object changes nothing")
        return subject

    @property
    def action(self) -> Action:
        """Say what the change does."""
        if self.after is None:
            return Action.DELETED
        return action_between(self.before, self.after)


def action_between(before: Stored[Content] | None, after: Stored[Content]) -> Action:
    """Say what turns one object into the other; who wrote it when, and under which etag, is no difference."""
    if before is None:
        return Action.CREATED
    kept = before.about.scope_tags == after.about.scope_tags and before.about.labels == after.about.labels
    if kept and before.content == after.content:
        return Action.UNCHANGED
    moved = with_assignments(before.content, assignments_of(after.content))
    return Action.ASSIGNED if kept and moved == after.content else Action.UPDATED


def key_of(content: AnyContent) -> Key:
    """Return by what an object is known."""
    return type(content), content.name


def delivered(content: Item) -> Item:
    """Return what devices get of an object, but for whom it is for."""
    return replace(content, description="", lint=())


def assignments_of(content: AnyContent) -> Assignments:
    """Return who gets the object; nobody gets a certificate by itself."""
    return Assignments() if isinstance(content, ReusableCertificate) else content.assignments


def with_assignments(content: Item, assignments: Assignments) -> Item:
    """Return the object for other groups; a certificate stays as it is."""
    if isinstance(content, ReusableCertificate):
        return content
    return replace(content, assignments=assignments)


def targets_of(assignments: Assignments) -> frozenset[str]:
    """Return the groups that assignments name, excluded ones included."""
    included = frozenset(target.group for target in assignments.include)
    return included | {target.group for target in assignments.exclude}


def moved_targets(before: Assignments, after: Assignments) -> frozenset[str]:
    """Return the groups that are added, taken away or filtered in another way."""
    included = frozenset(before.include) ^ frozenset(after.include)
    excluded = frozenset(before.exclude) ^ frozenset(after.exclude)
    return targets_of(Assignments(tuple(included), tuple(excluded)))


def certificates_named(content: AnyContent) -> frozenset[str]:
    """Return the reusable certificates that the rules name."""
    if not isinstance(content, RulesPolicy):
        return frozenset()
    conditions = (rule.detection.certificate for rule in content.rules)
    return frozenset(condition.reusable for condition in conditions if condition is not None and condition.reusable)
