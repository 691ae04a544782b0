"""Tell approvers by what the policy of today denies a file: no approval, and no other rule, changes that on the device."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime

from elevation.certificates import parse_der
from services._chassis.errors import UnavailableError
from services._chassis.permits import Permit
from services.policy.model.denials import Denial
from services.policy.model.directory import Directory
from services.policy.model.requests import OPEN, ElevationRequest, RequestState
from services.policy.usecases.requests.today import PolicyOfToday


class Denials:
    """Ask the policy of today."""

    def __init__(self, directory: Callable[[], Directory], today: PolicyOfToday) -> None:
        self._directory = directory
        self._today = today

    async def standing(
        self, request: ElevationRequest, certificates: Sequence[bytes], reading: Permit, now: datetime
    ) -> Denial | None:
        """Return what denies an open request; the default response one that waits alone, since a grant comes before it."""
        if request.state not in OPEN:
            return None
        found = await self._found(request, certificates, reading, now)
        over = found is not None and found.default_response and request.state is not RequestState.PENDING
        return None if over else found

    async def by_rule(
        self, request: ElevationRequest, certificates: Sequence[bytes], reading: Permit, now: datetime
    ) -> Denial | None:
        """Return the rule that denies what was asked for, whatever became of the request."""
        found = await self._found(request, certificates, reading, now)
        return None if found is None or found.default_response else found

    async def _found(
        self, request: ElevationRequest, certificates: Sequence[bytes], reading: Permit, now: datetime
    ) -> Denial | None:
        """Return the denial; None also where the device is not known, or that cannot be told now."""
        with suppress(UnavailableError):
            device = self._directory().devices.get(request.device_id)
            if device is not None:
                chain = [parse_der(der) for der in certificates]
                return await self._today.denial(device, request, chain, reading=reading, now=now)
        return None
