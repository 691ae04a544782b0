"""Everything that is authored, as new as anything that was saved before."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from services._chassis.errors import UnavailableError
from services.policy.model.objects import Corpus
from services.policy.ports import Store
from services.policy.usecases.documents import PolicyBook

CaughtUp: TypeAlias = "Callable[[int], Awaitable[None]]"
"""Returns once the book is as new as a revision of what is authored. Raises UnavailableError if it takes too long."""


async def newest_corpus(store: Store, book: PolicyBook, caught_up: CaughtUp) -> Corpus:
    """Return what is authored, once the book is as new as the store now is. Raises UnavailableError if that takes too long."""
    async with store.reading() as work:
        revision = await work.revision()
    await caught_up(revision)
    corpus = book.corpus
    if corpus is None:
        raise UnavailableError("the policies were not read yet; try again", reason="POLICIES_NOT_READ")
    return corpus
