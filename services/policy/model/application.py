"""What is applied in one call, and what became of it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from elevation import texts
from elevation.model import Group, GroupType, ReusableCertificate, RulesPolicy, SettingsPolicy
from services._chassis.errors import Problem
from services._chassis.expected import Expected, check_expected
from services.policy.model.drafts import Draft
from services.policy.model.edits import AnyEdit
from services.policy.model.objects import Action, AnyContent, Key, Stored, key_of, kind_of

MOST_OBJECTS = 10_000
MOST_FINDINGS = 1000
"""Findings that the answer of a call carries."""
KINDS: tuple[type[AnyContent], ...] = (ReusableCertificate, SettingsPolicy, RulesPolicy)
KINDS_BY_NAME: Mapping[str, type[AnyContent]] = {kind_of(kind).document: kind for kind in KINDS}
"""Kinds by their names in documents."""

AnyDraft: TypeAlias = Draft[AnyContent]
AnyStored: TypeAlias = Stored[AnyContent]


@dataclass(frozen=True, slots=True)
class PendingGroup:
    """Tell of a group that is about to exist; `type` None was not stated."""

    name: str
    type: GroupType | None
    filter: str = ""
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Deletion:
    """Name an object that is to go, its kind as documents name it."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class OwnerLabel:
    """Say by which label an object that is to go has to be the caller's."""

    key: str
    value: str

    def owns(self, stored: AnyStored) -> bool:
        """Tell whether the object carries the label."""
        return stored.about.labels.get(self.key) == self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """Hold what is to be applied, and how."""

    drafts: Sequence[AnyDraft]
    pending_groups: Sequence[PendingGroup] = ()
    pending_scope_tags: Sequence[str] = ()
    directory_revision: int = 0
    expected: Sequence[Expected] = ()
    deletions: Sequence[Deletion] = ()
    owner: OwnerLabel | None = None
    as_code: bool = False

    @property
    def groups(self) -> Mapping[str, Group]:
        """Return the groups that are about to exist, as far as the call tells of them."""
        pending = ((each, each.type) for each in self.pending_groups)
        return {
            each.name: Group(each.name, kind, filter=each.filter, groups=each.groups)
            for each, kind in pending
            if kind is not None
        }

    def keys(self) -> Iterator[Key]:
        """Name all objects that the call is about: what it writes, deletes and expects; kinds that there are alone."""
        yield from (key_of(draft.content) for draft in self.drafts)
        named_only: tuple[Deletion | Expected, ...] = (*self.deletions, *self.expected)
        for named in named_only:
            if named.kind in KINDS_BY_NAME:
                yield KINDS_BY_NAME[named.kind], named.name


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedObject:
    """Say what became of an object; etags are empty where it is not there, and after a change that was only rehearsed."""

    kind: type[AnyContent]
    name: str
    action: Action
    etag_before: str = ""
    etag: str = ""


@dataclass(frozen=True, slots=True)
class Applied:
    """Say what became of each object, in the order of the call, the revision after it, and the edits that it took."""

    objects: tuple[AppliedObject, ...]
    revision: int
    edits: tuple[AnyEdit, ...] = ()
    groups: Mapping[str, Group] = field(default_factory=dict)
    """Those that are about to exist."""


def check_size(application: Application) -> Iterator[Problem]:
    """Find whether the call is about more than can even be looked up at once."""
    count = len(application.drafts) + len(application.deletions)
    if count > MOST_OBJECTS:
        yield Problem("", f"holds {count} objects; at most {MOST_OBJECTS} are allowed in one call")
    if len(application.expected) > MOST_OBJECTS:
        yield Problem("expected", f"holds {len(application.expected)} objects; at most {MOST_OBJECTS} are allowed")


def check_application(application: Application, *, validate_only: bool) -> Iterator[Problem]:
    """Find what else is wrong with the call itself, whatever is stored."""
    yield from _check_names(application)
    yield from _check_deletions(application)
    yield from check_expected(application.expected, KINDS_BY_NAME)
    yield from _check_pending(application, validate_only=validate_only)


def _check_names(application: Application) -> Iterator[Problem]:
    first: dict[Key, str] = {}
    for draft in application.drafts:
        earlier = first.setdefault(key_of(draft.content), draft.place)
        if earlier != draft.place and draft.content.name:
            yield Problem(f"{draft.place}.metadata.name", f"{draft.title} stands at {earlier} too; remove one")
    for number, deletion in enumerate(application.deletions):
        place = f"deletions[{number}]"
        if deletion.kind not in KINDS_BY_NAME:
            yield no_kind(place, deletion.kind)
            continue
        earlier = first.setdefault((KINDS_BY_NAME[deletion.kind], deletion.name), place)
        if earlier != place:
            yield Problem(f"{place}.name", f'the {deletion.kind} "{deletion.name}" stands at {earlier} too; remove one')


def _check_deletions(application: Application) -> Iterator[Problem]:
    owner = application.owner
    if owner is None:
        if application.deletions:
            yield Problem("owner", "is missing; say which label the objects to delete carry")
        return
    if not owner.key:
        yield Problem("owner.key", "is missing; name the label that says whose an object is")


def _check_pending(application: Application, *, validate_only: bool) -> Iterator[Problem]:
    if application.pending_groups and not validate_only:
        yield Problem("pending_groups", "only go with validate_only; make the groups first, or leave them out")
    if application.pending_scope_tags and not validate_only:
        yield Problem("pending_scope_tags", "only go with validate_only; make the tags first, or leave them out")
    for number, group in enumerate(application.pending_groups):
        place = f"pending_groups[{number}]"
        yield from (Problem(problem.path, problem.message) for problem in texts.check_name(f"{place}.name", group.name))
        if group.type is None:
            yield Problem(f"{place}.type", "is missing; say DEVICE or USER")


def no_kind(place: str, kind: str) -> Problem:
    """Say that an object is named by a kind that there is not."""
    return Problem(f"{place}.kind", f'"{kind}" is no kind of objects; known are {", ".join(KINDS_BY_NAME)}')
