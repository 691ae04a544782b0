"""Take in what devices ask for their users: approval of an attempt, and to take that back."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from elevation.model import (
    Certificate,
    Decision,
    Outcome,
    Platform,
)
from services._chassis.errors import DeniedError, InvalidError, NotFoundError, Problem, StateError
from services.policy.model.certificates import fingerprint_of
from services.policy.model.directory import DirectoryDevice
from services.policy.model.request_limits import Submission, refuse_too_many, size_of
from services.policy.model.request_texts import reason_problems, text_problems
from services.policy.model.requests import ElevationRequest, RequestedFile
from services.policy.model.told_requests import Told
from services.policy.usecases.requests.ports import ElevationRequests, Now
from services.policy.usecases.requests.today import PolicyOfToday

LONGEST_ID = 64
LONGEST_NAME = 256
LONGEST_PATH = 4096
LONGEST_FACT = 1024
MOST_CERTIFICATES = 16
LARGEST_CERTIFICATE = 16 * 1024
LARGEST_CHAIN = 64 * 1024
"""Bytes of all certificates of a request."""
MOST_ARGUMENTS = 1024
LARGEST_ARGUMENTS = 32 * 1024

REVIEW_WITHIN = timedelta(days=7)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmissionWanted:
    """Hold what a device asks for a user; `flaws` could not be read."""

    attempt_id: str
    user: str
    justification: str
    platform: Platform
    file: RequestedFile
    certificates: tuple[Certificate, ...] = ()
    arguments: tuple[str, ...] = ()
    asked_by: tuple[str, str] = ("", "")
    """Policy and rule that asked for approval, as the device says: it chooses among what the server finds possible."""
    flaws: tuple[Problem, ...] = ()


class RecentRequests(Protocol):
    """Know what devices asked for lately."""

    async def recent(self, device_id: str, now: datetime) -> Sequence[Submission]:
        """Return the newest requests of a device that count for its limits, as many as it may make."""
        ...


class Asking:
    """Take requests of devices, as many as one device and one user may make."""

    def __init__(
        self,
        requests: ElevationRequests,
        recent: RecentRequests,
        today: PolicyOfToday,
        *,
        new_id: Callable[[], str],
        review_within: timedelta = REVIEW_WITHIN,
    ) -> None:
        self._requests = requests
        self._recent = recent
        self._today = today
        self._new_id = new_id
        self._review_within = review_within

    async def submit(self, device: DirectoryDevice, wanted: SubmissionWanted, now: datetime) -> Told:
        """Take a request in, or return the one that there is.

        Raises InvalidError with all problems; DeniedError for a user who is not bound to the device; LimitError; StateError
        where the policy of today does not ask for approval.
        """
        if problems := list(_problems(wanted)):
            raise InvalidError(problems)
        _refuse_stranger(device, wanted.user)
        found = await self._requests.of_attempt(device.device_id, wanted.attempt_id)
        if found is not None and (kept := await self._as_it_is(found, now)) is not None:
            return kept
        # The store looks again where it writes; whoever floods costs no more than this.
        refuse_too_many(await self._recent.recent(device.device_id, now), _asked(wanted, now), now)
        decision = await self._decision(device, wanted, now)
        request = ElevationRequest(
            request_id=self._new_id(),
            device_id=device.device_id,
            device_name=device.name,
            user=wanted.user,
            justification=wanted.justification,
            attempt_id=wanted.attempt_id,
            submitted=now,
            review_deadline=now + self._review_within,
            platform=wanted.platform,
            file=_as_signed(wanted.file, wanted.certificates),
            arguments=wanted.arguments,
            policy=decision.policy or "",
            rule=decision.rule or "",
            scope_tags=device.scope_tags,
            life=device.life,
        )
        return await self._requests.submit(request, [each.der for each in wanted.certificates], now)

    async def cancel(self, device: DirectoryDevice, request_id: str, user: str, clock: Now) -> Told:
        """Take a request back. Raises NotFoundError, and StateError where it is decided or expired."""
        found = await self._requests.find(request_id)
        if found is None or (found.request.device_id, found.request.user) != (device.device_id, user):
            raise _no_such_request()
        told = await self._requests.change([request_id], ElevationRequest.cancelled, clock)
        if not told:
            raise _no_such_request()
        return told[0]

    async def _as_it_is(self, found: Told, now: datetime) -> Told | None:
        """Return a request, ended if its time is over: the device keeps that for good, so it is written down first.

        None where it was deleted meanwhile: the attempt has no request then, as if it had been looked for later.
        """
        if found.request.at(now) is found.request:
            return found
        told = await self._requests.change([found.request.request_id], ElevationRequest.at, lambda: now)
        return told[0] if told else None

    async def _decision(self, device: DirectoryDevice, wanted: SubmissionWanted, now: datetime) -> Decision:
        """Return by what the policy of today asks for approval. Raises StateError where it does not."""
        decisions = await self._today.decisions(device, wanted, wanted.certificates, now)
        asking = [decision for decision in decisions if decision.outcome is Outcome.REQUEST_APPROVAL]
        if not asking:
            message = f"the policy of today does not ask for approval of this: {decisions[0].reason}; try it again"
            raise StateError(message, reason="APPROVAL_NOT_NEEDED", details={"outcome": decisions[0].outcome.name})
        named = (each for each in asking if (each.policy or "", each.rule or "") == wanted.asked_by)
        return next(named, None) or next((each for each in asking if each.rule), asking[0])


def _no_such_request() -> NotFoundError:
    return NotFoundError("the device has no such request of this user")


def _asked(wanted: SubmissionWanted, now: datetime) -> Submission:
    certificates = (each.der for each in wanted.certificates)
    return Submission(wanted.user, now, size_of(wanted.file, wanted.justification, wanted.arguments, certificates))


def _as_signed(file: RequestedFile, certificates: Sequence[Certificate]) -> RequestedFile:
    """Have the signing certificate that came with the file name its publisher; what the device says counts without one."""
    if not certificates:
        return file
    name = "".join(letter if letter.isprintable() else "\ufffd" for letter in certificates[0].subject)
    return replace(file, publisher=name[:LONGEST_FACT], publisher_fingerprint=fingerprint_of(certificates[0]))


def _refuse_stranger(device: DirectoryDevice, user: str) -> None:
    if user not in device.users:
        message = f"{user} is not bound to this device; have an administrator bind them"
        raise DeniedError(message, reason="USER_NOT_BOUND")


def _problems(wanted: SubmissionWanted) -> Iterator[Problem]:
    yield from wanted.flaws
    yield from text_problems("attempt_id", wanted.attempt_id, longest=LONGEST_ID, required=True)
    yield from text_problems("user", wanted.user, longest=LONGEST_NAME, required=True)
    yield from reason_problems("justification", wanted.justification, required=True)
    yield from text_problems("file.path", wanted.file.path, longest=LONGEST_PATH, required=True)
    for name in ("version", "description", "product_name", "internal_name", "company_name", "publisher"):
        yield from text_problems(f"file.{name}", getattr(wanted.file, name), longest=LONGEST_FACT)
    if len(wanted.arguments) > MOST_ARGUMENTS:
        yield Problem("arguments", f"must be at most {MOST_ARGUMENTS}")
    if sum(len(argument.encode()) for argument in wanted.arguments) > LARGEST_ARGUMENTS:
        yield Problem("arguments", f"must have at most {LARGEST_ARGUMENTS} bytes in all")
    if any("\0" in argument for argument in wanted.arguments):
        yield Problem("arguments", "hold a NUL; no program can be given one")
