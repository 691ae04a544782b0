"""What is shown of one request alone."""

from collections.abc import Sequence
from typing import Protocol

from services.policy.model.told_requests import GrantUse

MOST_USES_SHOWN = 999
"""With the attempt that led to a request they are as many as a filter of reports names."""


class RequestDetails(Protocol):
    """Know what is shown of one request alone."""

    async def uses(self, request_id: str, most: int) -> Sequence[GrantUse]:
        """Return uses of the grant of a request, newest first, so many at most."""
        ...
