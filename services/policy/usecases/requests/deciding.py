"""What approvers see and decide: requests of devices that share a scope tag with the role assignment that grants the right."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from elevation.certificates import parse_der
from services._chassis.errors import DeniedError, InvalidError, NotFoundError, Problem, StateError, UnavailableError
from services._chassis.paging import Page, PageRequest, page_request
from services._chassis.permits import Permit
from services.policy.model.denials import Denial
from services.policy.model.directory import Directory, DirectoryDevice
from services.policy.model.request_listing import RequestFilter, read_request_filter
from services.policy.model.request_texts import reason_problems
from services.policy.model.requests import (
    DEFAULT_ACCESS,
    DEVICE_GONE,
    MOST_USES,
    SHORTEST_ACCESS,
    Access,
    ElevationRequest,
    End,
    OfDevice,
    RequestState,
    Review,
    gone,
)
from services.policy.model.told_requests import Told
from services.policy.usecases.requests.denials import Denials
from services.policy.usecases.requests.ports import ElevationRequests, Now, RequestStep, RequestsWanted
from services.policy.usecases.requests.today import PolicyOfToday, denying

SHOWN = timedelta(days=30)
"""For how long a list shows requests that nobody asks for by a filter."""

ACCESS_CAP = timedelta(days=30)

MOST_ENDED = 100
"""Requests that a list ends, those of which time has ended last: nobody is about to change the others, which are many after a long
standstill."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Approver:
    """Know who decides, what they may see, and what time it is."""

    principal: str
    permit: Permit
    clock: Now
    reading: Permit = field(default_factory=Permit)
    """What of policies they may read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalWanted:
    """Hold an approval as it is asked for; `access` None: as long as it is usual."""

    request_id: str
    access: timedelta | None = None
    max_uses: int = 0
    any_arguments: bool = False
    reason: str = ""
    flaws: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Shown:
    """Hold a request with its evidence, and what denies it today."""

    told: Told
    certificates: Sequence[bytes]
    denied_by: Denial | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListWanted:
    """Ask for a page of requests."""

    filter: str = ""
    page_size: int = 0
    page_token: str = ""


class Deciding:
    """Show requests, and decide about them."""

    def __init__(
        self,
        requests: ElevationRequests,
        directory: Callable[[], Directory],
        *,
        today: PolicyOfToday,
        denials: Denials,
        is_user: Callable[[str, str], bool],
        access_cap: timedelta = ACCESS_CAP,
    ) -> None:
        self._requests = requests
        self._directory = directory
        self._today = today
        self._denials = denials
        self._is_user = is_user
        self._cap = access_cap

    def sees(self, permit: Permit) -> Callable[[OfDevice], bool]:
        """Return what tells whether a request is visible, by the tags that its device has now. Raises UnavailableError."""
        devices = self._directory().devices

        def visible(request: OfDevice) -> bool:
            device = devices.get(request.device_id)
            return permit.sees(device.scope_tags if device else request.scope_tags)

        return visible

    async def page(self, wanted: ListWanted, permit: Permit, clock: Now) -> Page[Told]:
        """Return a page of requests. Raises InvalidError, UnavailableError.

        INVARIANT: of what time has ended, only what the caller asks for and may see is written down; the rest is left to the sweep.
        """
        read = read_request_filter(wanted.filter)
        asked = _page_request(wanted, read)
        matching = read if isinstance(read, RequestFilter) else None
        visible, now = self.sees(permit), clock()
        over: list[tuple[datetime, str]] = []

        def matches(request: ElevationRequest) -> bool:
            if not visible(request):
                return False
            present = request.at(now)
            found = matching is None or matching.holds(present)
            if present is not request and (matching is None or found or matching.holds(request)):
                over.append((request.ends or now, request.request_id))  # also what is left out for its time alone
            return found

        narrowed = RequestsWanted(
            matches, since=now - SHOWN if matching is None else None, equal=matching.equal if matching else {}
        )
        page = await self._requests.page(asked, narrowed)
        if over:
            await self._end([request_id for _, request_id in sorted(over, reverse=True)[:MOST_ENDED]], clock)
            page = await self._requests.page(asked, narrowed)
        return Page(tuple(_present(told, now) for told in page.items), page.next_token)

    async def find(self, request_id: str, permit: Permit, clock: Now) -> Told:
        """Return a request as it is now. Raises NotFoundError where there is none, or none that may be seen."""
        visible, now = self.sees(permit), clock()
        found = await self._requests.find(request_id)
        if found is not None and visible(found.request) and found.request.at(now) is not found.request:
            await self._end([request_id], clock)
            found = await self._requests.find(request_id)
        if found is None or not visible(found.request):
            raise NotFoundError(f'there is no elevation request "{request_id}"; list them for their identifiers')
        return _present(found, now)

    async def show(self, request_id: str, approver: Approver) -> Shown:
        """Return all there is to know of a request but its uses. Raises as `find` does."""
        told = await self.find(request_id, approver.permit, approver.clock)
        certificates = await self._requests.certificates(request_id)
        denied = await self._denials.standing(told.request, certificates, approver.reading, approver.clock())
        return Shown(told, certificates, denied)

    async def approve(self, wanted: ApprovalWanted, approver: Approver) -> Told:
        """Let the user elevate.

        Raises InvalidError with all problems, NotFoundError, DeniedError for one's own request, StateError where it is
        not pending, where the device or the user is gone, and where a rule denies the file.
        """
        found = await self._find_for(wanted.request_id, approver, list(self._approval_problems(wanted)))
        await self._refuse_denied(self._standing(found.request), found.request, approver)
        length = min(DEFAULT_ACCESS, self._cap) if wanted.access is None else wanted.access

        def approved(request: ElevationRequest, now: datetime) -> ElevationRequest:
            review = Review(reviewer=approver.principal, reviewed=now, reason=wanted.reason)
            access = Access(
                begins=now, until=now + length, max_uses=wanted.max_uses, any_arguments=wanted.any_arguments
            )
            return request.approved(review, access)

        return await self._change(wanted.request_id, approved, approver)

    async def deny(self, request_id: str, reason: str, approver: Approver) -> Told:
        """Say no. Raises as `approve` does, but for what is gone."""
        await self._find_for(request_id, approver, list(reason_problems("reason", reason, required=True)))

        def denied(request: ElevationRequest, now: datetime) -> ElevationRequest:
            return request.denied(Review(reviewer=approver.principal, reviewed=now, reason=reason))

        return await self._change(request_id, denied, approver)

    async def revoke(self, request_id: str, reason: str, approver: Approver) -> Told:
        """Take an approval back. Raises InvalidError, NotFoundError, StateError where there is none."""
        if problems := list(reason_problems("reason", reason, required=False)):
            raise InvalidError(problems)
        await self.find(request_id, approver.permit, approver.clock)
        why = reason or "an approver took it back"

        def revoked(request: ElevationRequest, now: datetime) -> ElevationRequest:
            return request.revoked(End(ended=now, ended_by=approver.principal, reason=why))

        return await self._change(request_id, revoked, approver)

    async def _end(self, request_ids: Sequence[str], clock: Now) -> None:
        """Write down what time has ended before it is shown: somebody who came in time may be about to change it."""
        with suppress(UnavailableError):
            await self._requests.change(request_ids, ElevationRequest.at, clock)

    async def _find_for(self, request_id: str, approver: Approver, problems: list[Problem]) -> Told:
        if problems:
            raise InvalidError(problems)
        found = await self.find(request_id, approver.permit, approver.clock)
        if self._is_user(approver.principal, found.request.user):
            message = "nobody decides about their own request; ask another approver"
            raise DeniedError(message, reason="OWN_REQUEST")
        return found

    async def _change(self, request_id: str, step: RequestStep, approver: Approver) -> Told:
        changed = await self._requests.change([request_id], step, approver.clock)
        if not changed:
            raise NotFoundError(f'there is no elevation request "{request_id}" any longer')
        return changed[0]

    def _standing(self, request: ElevationRequest) -> DirectoryDevice:
        """Return the device, on which something can be granted."""
        directory = self._directory()
        device = directory.devices.get(request.device_id)
        if device is None and request.device_id not in directory.deleted:
            raise UnavailableError(
                "the directory does not show the device yet; try again", reason="DEVICE_NOT_KNOWN_YET"
            )
        why = DEVICE_GONE if device is None else gone(request, device)
        if device is None or why:
            raise StateError(f"nothing can be granted any longer: {why}", reason="NOBODY_TO_GRANT_TO")
        return device

    async def _refuse_denied(self, device: DirectoryDevice, request: ElevationRequest, approver: Approver) -> None:
        """Approve nothing that the policy of today denies: the device would deny it all the same."""
        if request.state is not RequestState.PENDING:
            return  # that it is settled says more
        chain = [parse_der(der) for der in await self._requests.certificates(request.request_id)]
        decision = denying(await self._today.decisions(device, request, chain, approver.clock()))
        if decision is None:
            return
        said, details = "a rule that you may not see", {}
        if decision.rule is None:
            said = "the default response"
        elif self._today.shows(decision, approver.reading):
            details = {"policy": decision.policy or "", "rule": decision.rule}
            said = f"the rule {decision.rule} of policy {decision.policy}"
        message = f"{said} denies the file, and no approval changes that; have it changed first, or deny the request"
        raise StateError(message, reason="DENIED_BY_RULE", details=details)

    def _approval_problems(self, wanted: ApprovalWanted) -> "list[Problem]":
        problems = [*wanted.flaws, *reason_problems("reason", wanted.reason, required=False)]
        if wanted.access is not None and not SHORTEST_ACCESS <= wanted.access <= self._cap:
            longest = f"{self._cap.total_seconds() / 3600:g} hours"
            problems.append(Problem("access", f"must be from a minute to {longest}, the server's cap"))
        if wanted.max_uses > MOST_USES:
            problems.append(Problem("max_uses", f"must be at most {MOST_USES}; 0 for many"))
        return problems


def _present(told: Told, now: datetime) -> Told:
    """Return a request as it is now."""
    return replace(told, request=told.request.at(now))


def _page_request(wanted: ListWanted, read: RequestFilter | Problem | None) -> PageRequest:
    return page_request(
        page_size=wanted.page_size,
        page_token=wanted.page_token,
        question=f"elevation requests\n{wanted.filter.strip()}",
        beside=[read] if isinstance(read, Problem) else (),
    )
