"""Look at what an object was, and at what its states differ in.

Who may see the newest state of an object, deleted or not, may see all of them.
"""

from dataclasses import dataclass

from services._chassis.errors import NotFoundError
from services._chassis.paging import LARGEST_NUMBER, Page, page_request
from services._chassis.permits import Permit
from services.policy.model.difference import FieldChange, differences
from services.policy.model.objects import Content, kind_of
from services.policy.model.revisions import Past, Revision
from services.policy.ports import Store, Work


@dataclass(frozen=True, slots=True)
class Difference:
    """Hold two revisions, the earlier one None where nothing was before, and what they differ in."""

    earlier: Revision | None
    later: Revision
    changes: tuple[FieldChange, ...]


async def list_revisions(
    store: Store, kind: type[Content], name: str, *, permit: Permit, page_size: int, page_token: str
) -> Page[Revision]:
    """Return a page of the revisions of an object, newest first. Raises NotFoundError."""
    question = f"revisions/{kind_of(kind).one}/{name}"
    request = page_request(page_size=page_size, page_token=page_token, question=question, shape=(int,))
    async with store.reading() as work:
        await newest_visible(work, kind, name, permit)
        return await work.history.page(kind, name, request)


async def get_revision(store: Store, kind: type[Content], name: str, *, change: int, permit: Permit) -> Past[Content]:
    """Return an object as a change left it, 0 for the newest. Raises NotFoundError."""
    async with store.reading() as work:
        newest = await newest_visible(work, kind, name, permit)
        return await state_at(work, newest, change) if change else newest


async def diff_revisions(
    store: Store, kind: type[Content], name: str, *, earlier: int, later: int, permit: Permit
) -> Difference:
    """Say what two revisions differ in; 0 is the newest as the later one, and as the earlier one that before it.

    Raises NotFoundError.
    """
    async with store.reading() as work:
        newest = await newest_visible(work, kind, name, permit)
        to = await state_at(work, newest, later) if later else newest
        if earlier:
            before: Past[Content] | None = await state_at(work, newest, earlier)
        else:
            before = await work.history.newest(kind, name, before=to.revision.change)
        changes = differences(before.stored if before else None, to.stored)
        return Difference(before.revision if before else None, to.revision, changes)


async def newest_visible(work: Work, kind: type[Content], name: str, permit: Permit) -> Past[Content]:
    """Return the newest state of an object. Raises NotFoundError where it never was, or may not be seen."""
    newest = await work.history.newest(kind, name)
    if newest is None or not permit.sees(newest.revision.scope_tags):
        raise NotFoundError(f'there never was a {kind_of(kind).noun} "{name}"; look at its kind and name again')
    return newest


async def state_at(work: Work, newest: Past[Content], change: int) -> Past[Content]:
    """Return an object that may be seen as a change left it. Raises NotFoundError."""
    kind, name = type(newest.stored.content), newest.stored.name
    found = await work.history.at(kind, name, change) if 0 < change <= LARGEST_NUMBER else None
    if found is None:
        raise NotFoundError(
            f'the {kind_of(kind).noun} "{name}" has no revision {change}; list its revisions for their numbers'
        )
    return found
