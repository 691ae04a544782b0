"""Create or replace many objects at once, all or none."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from elevation import texts
from elevation.model import Assignments, GroupType, ReusableCertificate, RulesPolicy, SettingsPolicy
from services._chassis.errors import DeniedError, InvalidError, Problem
from services._chassis.permits import Permit
from services.policy.model.drafts import Draft, Known, check_draft, revised
from services.policy.model.objects import (
    Action,
    AnyContent,
    Stored,
    action_between,
    assignments_of,
    certificates_named,
    moved_targets,
    targets_of,
)
from services.policy.ports import Directories, Store, Work
from services.policy.usecases.references import known_certificates, known_groups, nameable
from services.policy.usecases.scope import ASSIGN, CREATE, READ, UPDATE, Author, refuse_out_of_scope, tags_after
from services.policy.usecases.writing import write

MOST_OBJECTS = 10_000
KINDS: tuple[type[AnyContent], ...] = (ReusableCertificate, SettingsPolicy, RulesPolicy)
AnyDraft: TypeAlias = Draft[AnyContent]
AnyStored: TypeAlias = Stored[AnyContent]
Key: TypeAlias = tuple[type[AnyContent], str]


@dataclass(frozen=True, slots=True)
class PendingGroup:
    """Name a group that is about to exist; `type` None was not stated."""

    name: str
    type: GroupType | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """Hold what is to be applied, and how."""

    drafts: Sequence[AnyDraft]
    validate_only: bool = False
    pending_groups: Sequence[PendingGroup] = ()
    directory_revision: int = 0


@dataclass(frozen=True, slots=True)
class Applied:
    """Say what became of each object, in the order of the call, and the revision after it."""

    actions: tuple[tuple[AnyDraft, Action], ...]
    revision: int


@dataclass(frozen=True, slots=True)
class _Step:
    draft: AnyDraft
    existing: AnyStored | None
    wanted: AnyStored

    @property
    def action(self) -> Action:
        action = action_between(self.existing, self.wanted)
        return Action.UPDATED if action is Action.ASSIGNED else action


async def apply_policies(
    store: Store, directories: Directories, application: Application, *, author: Author
) -> Applied:
    """Create or replace the objects in one transaction, or say what would become of them.

    Raises DeniedError, InvalidError with all problems, UnavailableError where the directory is not there in time.
    """
    permits = _permits(author)
    groups = await _groups(directories, application)
    async with store.reading() if application.validate_only else store.writing() as work:
        present = await _present(work, application.drafts)
        steps = [_step(draft, present.get(_key(draft)), author, permits) for draft in application.drafts]
        if problems := [*_check_call(application), *await _check_steps(work, steps, groups, permits)]:
            raise InvalidError(problems)
        if not application.validate_only:
            for step in steps:
                if step.action is not Action.UNCHANGED:
                    await write(work, step.existing, step.wanted, author)
        return Applied(tuple((step.draft, step.action) for step in steps), await work.revision())


def _permits(author: Author) -> Sequence[Permit]:
    """Return the caller's permits; refuse who may change nothing, before anything of the input is looked at."""
    permits: dict[str, Permit] = {}
    refused: list[DeniedError] = []
    for right in (CREATE, UPDATE, ASSIGN, READ):
        try:
            permits[right] = author.check(right)
        except DeniedError as error:
            refused.append(error)
    if not permits.keys() - {READ}:
        raise refused[0]
    return tuple(permits.values())


async def _groups(directories: Directories, application: Application) -> Mapping[str, GroupType]:
    named = (targets_of(assignments_of(draft.content)) for draft in application.drafts)
    if application.directory_revision:
        directory = await directories.at_least(application.directory_revision)
        known: Mapping[str, GroupType] = {name: group.type for name, group in directory.groups.items()}
    else:
        known = known_groups(directories, frozenset[str]().union(*named) - _pending(application).keys())
    return {**known, **_pending(application)}


def _pending(application: Application) -> Mapping[str, GroupType]:
    return {group.name: group.type for group in application.pending_groups if group.type is not None}


async def _present(work: Work, drafts: Sequence[AnyDraft]) -> dict[Key, AnyStored]:
    present: dict[Key, AnyStored] = {}
    for kind in KINDS:
        names = {draft.content.name for draft in drafts if draft.kind is kind}
        found = await work.find(kind, names) if names else {}
        present.update({(kind, name): stored for name, stored in found.items()})
    return present


def _key(draft: AnyDraft) -> Key:
    return draft.kind, draft.content.name


def _step(draft: AnyDraft, existing: AnyStored | None, author: Author, permits: Sequence[Permit]) -> _Step:
    """Say what the draft asks for. Raises DeniedError where the caller may not do it, within the scope of the right."""
    if existing is None:
        tags = tags_after(author.check(CREATE), draft.scope_tags, None)
    elif any(permit.sees(existing.about.scope_tags) for permit in permits):
        tags = draft.scope_tags or existing.about.scope_tags
    else:
        raise DeniedError(f"{draft.title} is not within your scope; choose another name", reason="OBJECT_OUT_OF_SCOPE")
    wanted = revised(draft, existing, tags=tags, actor=author.principal, now=author.now)
    if existing is not None:
        _refuse_update(draft, existing, wanted, author)
    moved = moved_targets(
        assignments_of(existing.content) if existing else Assignments(), assignments_of(draft.content)
    )
    if moved:
        refuse_out_of_scope(author.check(ASSIGN), moved, tags)
    return _Step(draft, existing, wanted)


def _refuse_update(draft: AnyDraft, existing: AnyStored, wanted: AnyStored, author: Author) -> None:
    if action_between(existing, wanted) in (Action.UNCHANGED, Action.ASSIGNED):
        return
    permit = author.check(UPDATE)
    if not permit.sees(existing.about.scope_tags):
        raise DeniedError(f"{draft.title} is not within the scope of {UPDATE}", reason="OBJECT_OUT_OF_SCOPE")
    tags_after(permit, draft.scope_tags, existing.about.scope_tags)


def _check_call(application: Application) -> Iterator[Problem]:
    if len(application.drafts) > MOST_OBJECTS:
        yield Problem("", f"holds {len(application.drafts)} objects; at most {MOST_OBJECTS} are allowed in one call")
    first: dict[Key, str] = {}
    for draft in application.drafts:
        earlier = first.setdefault(_key(draft), draft.place)
        if earlier != draft.place and draft.content.name:
            yield Problem(f"{draft.place}.metadata.name", f"{draft.title} stands at {earlier} too; remove one")
    if application.pending_groups and not application.validate_only:
        yield Problem("pending_groups", "only go with validate_only; make the groups first, or leave them out")
    for number, group in enumerate(application.pending_groups):
        place = f"pending_groups[{number}]"
        yield from (Problem(problem.path, problem.message) for problem in texts.check_name(f"{place}.name", group.name))
        if group.type is None:
            yield Problem(f"{place}.type", "is missing; say DEVICE or USER")


async def _check_steps(
    work: Work, steps: Sequence[_Step], groups: Mapping[str, GroupType], permits: Sequence[Permit]
) -> list[Problem]:
    applied = frozenset(step.draft.content.name for step in steps if step.draft.kind is ReusableCertificate)
    named = frozenset[str]().union(*(certificates_named(step.draft.content) for step in steps))
    certificates = await known_certificates(work, named - applied)
    problems: list[Problem] = []
    for step in steps:
        known = Known(groups, applied | nameable(certificates, step.existing, permits))
        problems.extend(check_draft(step.draft, known, step.existing))
    return problems
