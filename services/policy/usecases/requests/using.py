"""Take in what devices tell of uses of grants."""

from collections.abc import Iterator, Sequence

from services._chassis.errors import InvalidError, Problem
from services.policy.model.request_texts import text_problems
from services.policy.model.told_requests import GrantUse
from services.policy.usecases.requests.asking import LONGEST_ID
from services.policy.usecases.requests.ports import GrantUses, Now

MOST_USES_TOLD = 100
"""Uses in one call."""


async def report_uses(
    store: GrantUses,
    device_id: str,
    uses: Sequence[GrantUse],
    clock: Now,
    *,
    flaws: Sequence[Problem] = (),
) -> None:
    """Count the uses that are new. Raises InvalidError with all problems."""
    if problems := [*flaws, *_problems(uses)]:
        raise InvalidError(problems)
    await store.take_in(device_id, uses, clock)


def _problems(uses: Sequence[GrantUse]) -> Iterator[Problem]:
    for number, use in enumerate(uses):
        yield from text_problems(f"uses[{number}].grant_id", use.grant_id, longest=LONGEST_ID, required=True)
        yield from text_problems(f"uses[{number}].attempt_id", use.attempt_id, longest=LONGEST_ID, required=True)
