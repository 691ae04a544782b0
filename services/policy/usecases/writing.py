"""Put an object in the place of another, or take it away, under the transaction's revision."""

from dataclasses import replace

from services.policy.model.objects import Change, Content, Stored, delivered
from services.policy.ports import Work
from services.policy.usecases.scope import Author


async def write(
    work: Work,
    existing: Stored[Content] | None,
    wanted: Stored[Content],
    author: Author,
    *,
    rolled_back_to: int = 0,
    as_code: bool = False,
    duplicate_of: str = "",
) -> Stored[Content]:
    """Write the object and return it as it is kept; what devices get of it has a new revision only if that changed.

    A call that is only rehearsed writes nothing: the object is returned as it would be, without an etag.
    """
    if author.validate_only:
        return Stored(wanted.content, replace(wanted.about, etag=""))
    revision = await work.next_revision()
    reaches = existing is None or delivered(existing.content) != delivered(wanted.content)
    about = replace(
        wanted.about,
        etag=str(revision),
        revision=revision if reaches else wanted.about.revision,
        applied_change=revision if as_code else wanted.about.applied_change,
    )
    kept = Stored(wanted.content, about)
    change = Change(
        before=existing,
        after=kept,
        revision=revision,
        actor=author.principal,
        now=author.now,
        reason=author.reason,
        rolled_back_to=rolled_back_to,
        as_code=as_code,
        duplicate_of=duplicate_of,
    )
    await work.save(change)
    return kept


async def erase(work: Work, existing: Stored[Content], author: Author, *, as_code: bool = False) -> None:
    """Delete the object; its history stays. A call that is only rehearsed writes nothing."""
    if author.validate_only:
        return
    revision = await work.next_revision()
    change = Change(
        before=existing,
        after=None,
        revision=revision,
        actor=author.principal,
        now=author.now,
        reason=author.reason,
        as_code=as_code,
    )
    await work.save(change)
