"""Keep names apart that look the same."""

from collections.abc import Collection, Iterable, Iterator, Sequence

from elevation.lookalikes import twin_message, twins
from services._chassis.errors import Problem
from services.policy.model.drafts import Draft
from services.policy.model.objects import Content
from services.policy.model.spelling import below
from services.policy.ports import Work

_A_QUESTION = 5000
"""Names that the store is asked for at a time."""


async def twin_problems(
    work: Work,
    kind: type[Content],
    drafts: Sequence[Draft[Content]],
    *,
    gone: Collection[str] = (),
    beside: Iterable[str] = (),
) -> list[Problem]:
    """Find which new objects of a kind would look like another one by name.

    That is one that is there and not about to be `gone`, or one that comes `beside` them.
    """
    wanted = sorted({twin for draft in drafts for twin in twins(draft.content.name)})
    there = set(beside)
    for start in range(0, len(wanted), _A_QUESTION):
        there |= (await work.find(kind, wanted[start : start + _A_QUESTION])).keys()
    return [problem for draft in drafts for problem in _told(draft, there.difference(gone))]


def _told(draft: Draft[Content], there: Collection[str]) -> Iterator[Problem]:
    found = sorted(twins(draft.content.name).intersection(there))
    yield from below(draft.place, [Problem("metadata.name", twin_message(twin)) for twin in found[:1]])
