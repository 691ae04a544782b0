"""Look at groups, apply and delete them."""

import enum
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from services._chassis.audit import AuditEntry
from services._chassis.errors import DeniedError, InvalidError, NotFoundError, StateError
from services._chassis.paging import Page, page_request
from services._chassis.permits import Permit
from services.device.model.groups import Group, GroupDraft, check_drafts, wanted
from services.device.ports import Store, Work
from services.device.usecases.reach import refuse_other_members
from services.device.usecases.visibility import Standing, refuse_excess, refuse_foreign_tags

Check = Callable[[str], Permit]
"""Returns the caller's permit for a right; raises DeniedError where there is none."""


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
        return await _visible(work, name, permit)


async def list_groups(store: Store, *, permit: Permit, page_size: int, page_token: str) -> Page[Group]:
    """Return a page of the groups that the caller may see, by name."""
    request = page_request(page_size=page_size, page_token=page_token, question="groups")
    async with store.read() as work:
        return await work.groups.page(request, permit.visible_tags())


async def apply_groups(
    store: Store, drafts: Sequence[GroupDraft], *, standing: Standing, validate_only: bool, now: datetime
) -> Applied:
    """Create or replace the groups, all or none; with `validate_only` say what would become of them.

    Raises DeniedError, InvalidError with all problems, StateError for another type of an existing group.
    """
    _refuse_strangers(standing.check)
    if problems := list(check_drafts(drafts)):
        raise InvalidError(problems)
    async with store.read() if validate_only else store.transaction() as work:
        existing = await work.groups.many(draft.name for draft in drafts)
        planned = [_plan(draft, existing.get(draft.name), standing.check) for draft in drafts]
        _refuse_other_types(planned, existing.get)
        for group, _ in planned:
            if _moves_members(existing.get(group.name), group):
                refuse_excess(standing, group.name)
        await refuse_other_members(work, standing, _reaching_otherwise(planned, existing))
        changed = [(group, action) for group, action in planned if action is not Action.UNCHANGED]
        if changed and not validate_only:
            revision = await work.next_revision()
            await work.groups.save(*(replace(group, revision=revision) for group, _ in changed))
            await work.audit(*(_entry(group, action, existing.get(group.name)) for group, action in changed), now=now)
        revision = await work.current_revision()
    return Applied(tuple((group.name, action) for group, action in planned), revision)


async def delete_group(store: Store, name: str, *, permit: Permit, standing: Standing, now: datetime) -> int:
    """Delete a group and return the directory's revision after it. Raises NotFoundError and DeniedError."""
    async with store.transaction() as work:
        group = await _visible(work, name, permit)
        await refuse_other_members(work, standing, [name])
        revision = await work.next_revision()
        await work.groups.save(replace(group, members=(), filter="", deleted=True, revision=revision))
        entry = AuditEntry(action="group_deleted", target_kind="group", target=name, before=group.shown())
        await work.audit(entry, now=now)
    return revision


async def _visible(work: Work, name: str, permit: Permit) -> Group:
    group = (await work.groups.many([name])).get(name)
    if group is None or not permit.sees(group.scope_tags):
        raise NotFoundError("there is no such group; list the groups for their names")
    return group


def _refuse_strangers(check: Check) -> None:
    """Refuse who may neither create nor update, before anything of the input is looked at."""
    try:
        check("groups.create")
    except DeniedError:
        check("groups.update")


def _plan(draft: GroupDraft, existing: Group | None, check: Check) -> tuple[Group, Action]:
    if existing is None:
        permit = check("groups.create")
        refuse_foreign_tags(permit, draft.scope_tags)
        return wanted(draft, None, own_tags=permit.tags_for_new_object()), Action.CREATED
    permit = check("groups.update")
    if not permit.sees(existing.scope_tags):
        raise DeniedError(f'the group "{draft.name}" is not within your scope', reason="GROUP_OUT_OF_SCOPE")
    refuse_foreign_tags(permit, draft.scope_tags, existing.scope_tags)
    group = wanted(draft, existing, own_tags=frozenset())
    return group, Action.UNCHANGED if group == existing else Action.UPDATED


def _moves_members(before: Group | None, after: Group) -> bool:
    held = (before.members, before.filter) if before else ((), "")
    return held != (after.members, after.filter)


def _reaching_otherwise(planned: Sequence[tuple[Group, Action]], existing: Mapping[str, Group]) -> Iterator[str]:
    """Name the groups that come to have other members; also those that are new, since a group that nobody knows excludes everybody."""
    return (
        group.name for group, _ in planned if group.name not in existing or _moves_members(existing[group.name], group)
    )


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
