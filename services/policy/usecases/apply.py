"""Create, replace and delete many objects at once, all or none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from elevation.model import Assignments, Group, GroupType, ReusableCertificate
from services._chassis.errors import DeniedError, InvalidError, Problem
from services._chassis.permits import Permit
from services._chassis.scope_tags import with_pending
from services.policy.model.application import (
    KINDS,
    AnyDraft,
    AnyStored,
    Application,
    Applied,
    AppliedObject,
    check_application,
    check_size,
)
from services.policy.model.drafts import Known, check_draft, revised
from services.policy.model.edits import Edit
from services.policy.model.objects import (
    Action,
    Key,
    action_between,
    assignments_of,
    certificates_named,
    key_of,
    moved_targets,
    targets_of,
)
from services.policy.ports import Directories, Work
from services.policy.usecases.checking import errors_of
from services.policy.usecases.expectations import refuse_unexpected
from services.policy.usecases.means import Means
from services.policy.usecases.references import known_certificates, known_groups, nameable
from services.policy.usecases.removals import outcomes_of, refuse_named, removals_of
from services.policy.usecases.scope import ASSIGN, CREATE, DELETE, READ, UPDATE, Author, refuse_out_of_scope, tags_after
from services.policy.usecases.twins import twin_problems
from services.policy.usecases.writing import erase, write


@dataclass(frozen=True, slots=True)
class _Step:
    draft: AnyDraft
    existing: AnyStored | None
    wanted: AnyStored

    @property
    def action(self) -> Action:
        action = action_between(self.existing, self.wanted)
        return Action.UPDATED if action is Action.ASSIGNED else action

    def outcome(self, kept: AnyStored) -> AppliedObject:
        return AppliedObject(
            kind=self.draft.kind,
            name=self.draft.content.name,
            action=self.action,
            etag_before=self.existing.about.etag if self.existing else "",
            etag=kept.about.etag,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ground:
    """Hold on what a call stands: who makes it, where their rights count, and which groups and scope tags there are."""

    means: Means
    author: Author
    permits: Mapping[str, Permit]
    groups: Mapping[str, GroupType]
    pending: Mapping[str, Group]
    tags: frozenset[str]

    def sees(self, tags: frozenset[str]) -> bool:
        return any(permit.sees(tags) for permit in self.permits.values())


def refuse_strangers(author: Author) -> None:
    """Raise DeniedError for a caller who may change nothing, before anything of the input is looked at."""
    _permits(author)


async def groups_for(directories: Directories, application: Application, *, author: Author) -> Mapping[str, GroupType]:
    """Return the groups that there are for a call: it may take a while until the directory is as new as the call asks.

    Raises DeniedError for a caller who may change nothing, UnavailableError where the directory is not there in time.
    """
    refuse_strangers(author)
    return await _groups(directories, application)


async def apply_policies(
    work: Work, means: Means, application: Application, *, groups: Mapping[str, GroupType], author: Author
) -> Applied:
    """Create, replace and delete the objects, or say what would become of them.

    Raises DeniedError, InvalidError with all problems, ConflictError where objects are not as expected, StateError for
    certificates that would still be named.
    """
    tags = with_pending(means.known_tags(), application.pending_scope_tags)
    ground = _Ground(
        means=means, author=author, permits=_permits(author), groups=groups, pending=application.groups, tags=tags
    )
    if too_many := list(check_size(application)):
        raise InvalidError(too_many)
    present = await _present(work, application)
    steps = [_step(draft, present.get(key_of(draft.content)), ground) for draft in application.drafts]
    removed = removals_of(application, present, sees=ground.sees, author=author)
    problems = list(check_application(application, validate_only=author.validate_only))
    if not problems:
        await refuse_unexpected(work, application.expected, present, sees=ground.sees)
    problems += await _check_steps(work, steps, ground)
    problems += await _check_twins(work, steps, removed)
    if problems:
        raise InvalidError(problems)
    await refuse_named(work, removed, [step.wanted for step in steps], sees=ground.sees)
    objects = [step.outcome(await _write(work, step, application, author)) for step in steps]
    for stored in removed:
        await erase(work, stored, author, as_code=application.as_code)
    if application.as_code:
        await _mark(work, steps, ground)
    edits = (*(Edit(step.existing, step.wanted) for step in steps), *(Edit(stored, None) for stored in removed))
    objects += outcomes_of(application, removed)
    return Applied(tuple(objects), await work.revision(), edits, application.groups)


async def _write(work: Work, step: _Step, application: Application, author: Author) -> AnyStored:
    if step.existing is not None and step.action is Action.UNCHANGED:
        return step.existing
    return await write(work, step.existing, step.wanted, author, as_code=application.as_code)


async def _mark(work: Work, steps: Sequence[_Step], ground: _Ground) -> None:
    """Remember of objects that were as given already that they are as code says; of those that the caller may change."""
    changing = [permit for right, permit in ground.permits.items() if right in (UPDATE, ASSIGN)]
    unmarked = [
        step.existing
        for step in steps
        if step.existing is not None
        and step.action is Action.UNCHANGED
        and step.existing.about.applied_change != step.existing.about.change
        and any(permit.sees(step.existing.about.scope_tags) for permit in changing)
    ]
    if unmarked and not ground.author.validate_only:
        await work.mark_as_code(unmarked)


def _permits(author: Author) -> Mapping[str, Permit]:
    """Return the caller's permits; refuse who may change nothing, before anything of the input is looked at."""
    permits: dict[str, Permit] = {}
    refused: list[DeniedError] = []
    for right in (CREATE, UPDATE, ASSIGN, DELETE, READ):
        try:
            permits[right] = author.check(right)
        except DeniedError as error:
            refused.append(error)
    if not permits.keys() - {READ}:
        raise refused[0]
    return permits


async def _groups(directories: Directories, application: Application) -> Mapping[str, GroupType]:
    named = (targets_of(assignments_of(draft.content)) for draft in application.drafts)
    if application.directory_revision:
        directory = await directories.at_least(application.directory_revision)
        known: Mapping[str, GroupType] = {name: group.type for name, group in directory.groups.items()}
    else:
        known = known_groups(directories, frozenset[str]().union(*named) - _pending(application).keys())
    return {**known, **_pending(application)}


def _pending(application: Application) -> Mapping[str, GroupType]:
    return {name: group.type for name, group in application.groups.items()}


async def _present(work: Work, application: Application) -> dict[Key, AnyStored]:
    present: dict[Key, AnyStored] = {}
    keys = frozenset(application.keys())
    for kind in KINDS:
        names = {name for named, name in keys if named is kind}
        found = await work.find(kind, names) if names else {}
        present.update({(kind, name): stored for name, stored in found.items()})
    return present


def _step(draft: AnyDraft, existing: AnyStored | None, ground: _Ground) -> _Step:
    """Say what the draft asks for. Raises DeniedError where the caller may not do it, within the scope of the right."""
    author = ground.author
    if existing is None:
        tags = tags_after(author.check(CREATE), draft.scope_tags, None)
    elif ground.sees(existing.about.scope_tags):
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
    action = action_between(existing, wanted)
    if action is Action.UNCHANGED:
        return
    right = ASSIGN if action is Action.ASSIGNED else UPDATE  # no group moves where they stand in another order
    permit = author.check(right)
    if not permit.sees(existing.about.scope_tags):
        raise DeniedError(f"{draft.title} is not within the scope of {right}", reason="OBJECT_OUT_OF_SCOPE")
    tags_after(permit, draft.scope_tags, existing.about.scope_tags)


async def _check_twins(work: Work, steps: Sequence[_Step], removed: Sequence[AnyStored]) -> list[Problem]:
    problems: list[Problem] = []
    for kind in KINDS:
        new = [step.draft for step in steps if step.existing is None and step.draft.kind is kind]
        beside = [step.wanted.name for step in steps if step.draft.kind is kind]
        gone = frozenset(stored.name for stored in removed if isinstance(stored.content, kind))
        problems += await twin_problems(work, kind, new, gone=gone, beside=beside)
    return problems


async def _check_steps(work: Work, steps: Sequence[_Step], ground: _Ground) -> list[Problem]:
    applied = frozenset(step.draft.content.name for step in steps if step.draft.kind is ReusableCertificate)
    named = frozenset[str]().union(*(certificates_named(step.draft.content) for step in steps))
    certificates = await known_certificates(work, named - applied)
    problems: list[Problem] = []
    for step in steps:
        nameables = applied | nameable(certificates, step.existing, ground.permits.values())
        known = Known(ground.groups, nameables, ground.means.most_rules, ground.tags)
        problems.extend(check_draft(step.draft, known, step.existing))
        problems.extend(errors_of(ground.means, step.draft, ground.pending))
    return problems
