"""Look at groups, apply and delete them."""

import enum
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from elevation.lookalikes import twins
from services._chassis.audit import AuditEntry
from services._chassis.errors import DeniedError, InvalidError, Problem, StateError
from services._chassis.expected import Expected, check_expected, refuse_stale
from services._chassis.paging import Page, page_request
from services._chassis.permits import Permit
from services.device.model.groups import Group, GroupDraft, check_drafts, check_nesting, nestable, wanted
from services.device.ports import Store, Work
from services.device.usecases.reach import refuse_other_members, refuse_others_rights, seeing_groups, shown
from services.device.usecases.visibility import Standing, refuse_foreign_tags, visible_group

Check = Callable[[str], Permit]
"""Returns the caller's permit for a right; raises DeniedError where there is none."""


_KINDS = ("Group",)


class Action(enum.Enum):
    """Say what becomes of a group that is applied."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class Applied:
    """Hold what became of each group, in the order of the call, and the directory's revision after it."""

    actions: tuple[tuple[str, Action], ...]
    revision: int


async def get_group(store: Store, name: str, *, permit: Permit) -> Group:
    """Return a group. Raises NotFoundError."""
    async with store.read() as work:
        return visible_group((await work.groups.many([name])).get(name), permit)


async def list_groups(store: Store, *, permit: Permit, page_size: int, page_token: str) -> Page[Group]:
    """Return a page of the groups that the caller may see, by name."""
    request = page_request(page_size=page_size, page_token=page_token, question="groups")
    async with store.read() as work:
        return await work.groups.page(request, permit.visible_tags())


async def apply_groups(
    store: Store,
    drafts: Sequence[GroupDraft],
    *,
    standing: Standing,
    validate_only: bool,
    now: datetime,
    expected: Sequence[Expected] = (),
    pending_tags: Collection[str] = (),
) -> Applied:
    """Create or replace the groups, all or none; with `validate_only` say what would become of them.

    Raises DeniedError, InvalidError with all problems, ConflictError where groups are not as expected, StateError for
    another type of an existing group.
    """
    _refuse_strangers(standing.check)
    standing = standing.expecting(pending_tags)
    async with store.read() as work:
        known = (await work.groups.many(draft.name for draft in drafts)).keys()
        there = (await work.groups.many({twin for draft in drafts for twin in twins(draft.name)})).keys()
    misplaced = _pending_problems(pending_tags, validate_only=validate_only)
    if problems := [*check_drafts(drafts, known, there), *check_expected(expected, _KINDS), *misplaced]:
        raise InvalidError([*problems, *await _further_problems(store, nestable(drafts, problems), standing)])
    async with store.read() if validate_only else store.transaction() as work:
        await _refuse_stale(work, expected, standing)
        existing = await work.groups.many(draft.name for draft in drafts)
        planned = [_plan(draft, existing.get(draft.name), standing.check) for draft in drafts]
        missing = _tag_problems(drafts, existing, standing)
        if problems := [*await _nesting_problems(work, drafts, existing, standing), *missing]:
            raise InvalidError(problems)
        _refuse_other_types(planned, existing.get)
        moved = [group.name for group, _ in planned if _moves_members(existing.get(group.name), group)]
        await refuse_others_rights(work, standing, moved)
        await refuse_other_members(work, standing, {*moved, *(draft.name for draft in drafts) - existing.keys()})
        changed = [(group, action) for group, action in planned if action is not Action.UNCHANGED]
        if changed and not validate_only:
            revision = await work.next_revision()
            await work.groups.save(*(replace(group, revision=revision) for group, _ in changed))
            await work.audit(*(_entry(group, action, existing.get(group.name)) for group, action in changed), now=now)
        revision = await work.current_revision()
    return Applied(tuple((group.name, action) for group, action in planned), revision)


async def delete_group(store: Store, name: str, *, permit: Permit, standing: Standing, now: datetime) -> int:
    """Delete a group and return the directory's revision after it.

    Raises NotFoundError, DeniedError, and StateError while another group nests it, or policies include or exclude it.
    """
    async with store.transaction() as work:
        group = visible_group((await work.groups.many([name])).get(name), permit)
        await refuse_other_members(work, standing, [name])
        if parents := (await work.memberships.nesting([name])).get(name):
            raise StateError(
                f'"{name}" is nested by {await shown(work, standing, parents)}; take it out of there first',
                reason="GROUP_NESTED",
            )
        if name in (await work.groups.used()).names:
            raise _in_use(name)
        revision = await work.next_revision()
        await work.groups.save(replace(group, members=(), groups=(), filter="", deleted=True, revision=revision))
        entry = AuditEntry(action="group_deleted", target_kind="group", target=name, before=group.shown())
        await work.audit(entry, now=now)
    return revision


def _in_use(name: str) -> StateError:
    """Refuse to delete a group that policies name: a policy that excludes what there is not reaches nobody, a Deny too.

    Which policies those are may not be for the caller's eyes; the policy service tells each what they may see.
    """
    return StateError(
        f'policies include or exclude "{name}"; take it out of them first: their lists filter by \'assigned = "{name}" OR'
        f' excluded = "{name}"\'; what was saved a moment ago may still count here',
        reason="GROUP_IN_USE",
    )


def _refuse_strangers(check: Check) -> None:
    """Refuse who may neither create nor update, before anything of the input is looked at."""
    try:
        check("groups.create")
    except DeniedError:
        check("groups.update")


def _plan(draft: GroupDraft, existing: Group | None, check: Check) -> tuple[Group, Action]:
    permit = _permit(draft, existing, check)
    if existing is None:
        return wanted(draft, None, own_tags=permit.tags_for_new_object()), Action.CREATED
    group = wanted(draft, existing, own_tags=frozenset())
    return group, Action.UNCHANGED if group == existing else Action.UPDATED


def _permit(draft: GroupDraft, existing: Group | None, check: Check) -> Permit:
    """Return what the caller may do in applying the draft. Raises DeniedError where that is not enough for it."""
    permit = check("groups.create" if existing is None else "groups.update")
    if existing is not None and not permit.sees(existing.scope_tags):
        raise DeniedError(f'the group "{draft.name}" is not within your scope', reason="GROUP_OUT_OF_SCOPE")
    refuse_foreign_tags(permit, draft.scope_tags, existing.scope_tags if existing else ())
    return permit


async def _refuse_stale(work: Work, expected: Sequence[Expected], standing: Standing) -> None:
    """Raise ConflictError naming the groups that are not as expected; one that the caller may not see is not there."""
    if not expected:
        return
    permit = standing.check("groups.read")
    existing = await work.groups.many(entry.name for entry in expected)
    etags = {name: group.etag for name, group in existing.items() if permit.sees(group.scope_tags)}
    refuse_stale(expected, lambda entry: etags.get(entry.name, ""))


async def _further_problems(store: Store, drafts: Sequence[GroupDraft], standing: Standing) -> list[Problem]:
    """Find what is wrong with the nesting and the tags of drafts that have other problems, for who may apply those."""
    nesting = [draft for draft in drafts if draft.groups or draft.scope_tags]
    async with store.read() as work:
        existing = await work.groups.many(draft.name for draft in nesting)
        try:
            for draft in nesting:
                _permit(draft, existing.get(draft.name), standing.check)
        except DeniedError:
            return []  # told when the other problems are mended
        missing = _tag_problems(drafts, existing, standing)
        return [*await _nesting_problems(work, drafts, existing, standing), *missing]


def _pending_problems(pending_tags: Collection[str], *, validate_only: bool) -> Iterator[Problem]:
    if pending_tags and not validate_only:
        yield Problem("pending_scope_tags", "only go with validate_only; make the tags first, or leave them out")


def _tag_problems(drafts: Sequence[GroupDraft], existing: Mapping[str, Group], standing: Standing) -> Iterator[Problem]:
    """Find scope tags that groups would be given and that there are not."""
    for number, draft in enumerate(drafts):
        present = existing[draft.name].scope_tags if draft.name in existing else ()
        yield from standing.missing(f"groups[{number}].scope_tags", draft.scope_tags, present)


async def _nesting_problems(
    work: Work, drafts: Sequence[GroupDraft], existing: Mapping[str, Group], standing: Standing
) -> list[Problem]:
    """Find everything that is wrong with nesting.

    Groups of the call count as they will be. One that the caller may not see looks like one that is not there, unless it
    is nested already.
    """
    called = {draft.name for draft in drafts}
    wanted = {name for draft in drafts for name in draft.groups} - called
    nested = frozenset[str]().union(*(group.groups for group in existing.values()))
    sees = seeing_groups(standing)
    others = {name: group for name, group in (await work.groups.many(wanted)).items() if name in nested or sees(group)}
    nesting = await work.memberships.nesting(draft.name for draft in drafts if draft.groups)
    outside = {name: parents - called for name, parents in nesting.items()}
    parents = {name: await shown(work, standing, found) for name, found in outside.items() if found}
    return list(check_nesting(drafts, others, parents))


def _moves_members(before: Group | None, after: Group) -> bool:
    """Tell whether other devices or users may be in the group; one that is new and empty moves nobody."""
    return not after.has_members_of(before) if before else bool(after.members or after.filter or after.groups)


def _refuse_other_types(planned: Sequence[tuple[Group, Action]], existing: Callable[[str], Group | None]) -> None:
    changed = [
        group.name for group, _ in planned if (before := existing(group.name)) is not None and before.type != group.type
    ]
    if changed:
        raise StateError(
            f"the type of a group cannot be changed: {', '.join(changed)}; delete it first, or choose another name",
            reason="GROUP_TYPE_FIXED",
        )


def _entry(group: Group, action: Action, before: Group | None) -> AuditEntry:
    return AuditEntry(
        action=f"group_{action.value}",
        target_kind="group",
        target=group.name,
        before=before.shown() if before else None,
        after=group.shown(),
    )
