"""Put an object in the place of another, under the transaction's revision."""

from dataclasses import replace

from services.policy.model.objects import Change, Content, Stored
from services.policy.ports import Work
from services.policy.usecases.scope import Author


async def write(
    work: Work, existing: Stored[Content] | None, wanted: Stored[Content], author: Author
) -> Stored[Content]:
    """Write the object and return it as it is kept; what devices get of it has a new revision only if that changed."""
    revision = await work.next_revision()
    reaches = existing is None or _delivered(existing) != _delivered(wanted)
    about = replace(wanted.about, etag=str(revision), revision=revision if reaches else wanted.about.revision)
    kept = Stored(wanted.content, about)
    await work.save(Change(before=existing, after=kept, revision=revision, actor=author.principal, now=author.now))
    return kept


def _delivered(stored: Stored[Content]) -> Content:
    return replace(stored.content, description="")
