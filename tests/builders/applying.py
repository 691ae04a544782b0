"""Apply many objects at a desk, look at what they were, and give them old content again."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from services._chassis.expected import Expected
from services.policy.model.application import Application, Applied, Deletion, OwnerLabel, PendingGroup
from services.policy.model.drafts import Draft
from services.policy.model.objects import Action, AnyContent, Item, Stored, kind_of
from services.policy.model.revisions import Past, Revision
from services.policy.usecases import apply, revisions
from services.policy.usecases.rollback import Rollback, roll_back
from services.policy.usecases.scope import READ, UPDATE
from tests.builders.authoring import AnyStore, Desk, draft
from tests.fakes.clock import NOW

TEAM = OwnerLabel("owner", "team")
"""The label of all that a desk makes."""


def drafts(*contents: AnyContent, tags: Sequence[str] = ()) -> list[Draft[AnyContent]]:
    """Hand in objects as a call holds them."""
    return [
        replace(draft(content, tags=tags), place=f"{kind_of(type(content)).many}[{number}]")
        for number, content in enumerate(contents)
    ]


def expecting(content: AnyContent, etag: str) -> Expected:
    """Expect an object to have an etag."""
    return Expected(kind_of(type(content)).document, content.name, etag)


def deleting(*contents: AnyContent) -> list[Deletion]:
    """Ask for objects to go."""
    return [Deletion(kind_of(type(content)).document, content.name) for content in contents]


async def applied(
    at: Desk[AnyStore],
    *contents: AnyContent,
    by: str = "root",
    tags: Sequence[str] = (),
    validate_only: bool = False,
    pending: Sequence[PendingGroup] = (),
    pending_tags: Sequence[str] = (),
    directory_revision: int = 0,
    expected: Sequence[Expected] = (),
    deletions: Sequence[Deletion] = (),
    owner: OwnerLabel | None = None,
    as_code: bool = False,
    reason: str = "",
    now: datetime = NOW,
) -> Applied:
    """Apply the objects in one call."""
    application = Application(
        drafts=drafts(*contents, tags=tags),
        pending_groups=pending,
        pending_scope_tags=pending_tags,
        directory_revision=directory_revision,
        expected=expected,
        deletions=deletions,
        owner=owner or (TEAM if deletions else None),
        as_code=as_code,
    )
    author = replace(
        at.author("root", READ, now=now),
        principal=f"user:{by}",
        check=lambda right: at.author(by, right).permit,
        validate_only=validate_only,
        reason=reason,
    )
    groups = await apply.groups_for(at.directories, application, author=author)
    async with at.store.reading() if validate_only else at.store.writing() as work:
        return await apply.apply_policies(work, at.means, application, groups=groups, author=author)


def actions(outcome: Applied) -> list[tuple[str, Action]]:
    """Return what became of each object, by name."""
    return [(item.name, item.action) for item in outcome.objects]


def etags(outcome: Applied) -> list[tuple[str, str]]:
    """Return the etags of each object before and after."""
    return [(item.etag_before, item.etag) for item in outcome.objects]


async def revisions_of(at: Desk[AnyStore], kind: type[Item], name: str, *, by: str = "root") -> Sequence[Revision]:
    """List the revisions of an object, newest first."""
    permit = at.author(by, READ).permit
    page = await revisions.list_revisions(at.store, kind, name, permit=permit, page_size=1000, page_token="")
    return page.items


async def revision_at(
    at: Desk[AnyStore], kind: type[Item], name: str, change: int = 0, *, by: str = "root"
) -> Past[Item]:
    """Return an object as a change left it."""
    return await revisions.get_revision(at.store, kind, name, change=change, permit=at.author(by, READ).permit)


async def rolled_back(
    at: Desk[AnyStore],
    kind: type[Item],
    name: str,
    change: int,
    *,
    by: str = "root",
    etag: str = "",
    with_assignments: bool = False,
    validate_only: bool = False,
) -> Stored[Item]:
    """Give an object the content of an old revision."""
    asked = Rollback(name=name, change=change, etag=etag, with_assignments=with_assignments)
    author = replace(at.author(by, UPDATE), validate_only=validate_only, reason="as it was")
    async with at.store.reading() if validate_only else at.store.writing() as work:
        return (await roll_back(work, at.means, kind, asked, author=author)).stored
