"""What is said on a policy stream: admit a device, offer what is new to it, confirm what is not, hear its answers."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from services._chassis.errors import DeniedError, InvalidError, Problem, UnavailableError
from services.policy.model.delivery import LARGEST_REVISION, Delivery, Desired, GoAwayReason
from services.policy.model.directory import Directory, DirectoryDevice
from services.policy.model.manifest import Manifest
from services.policy.model.states import DeliveryState
from services.policy.ports import DeliveryChanges, DeliveryStep
from services.policy.usecases.documents import Basis, PolicyBook

CAPABILITY = "policy-document/1"
LARGEST_DOCUMENT = 4 * 1024 * 1024 - 4096
"""Bytes that fit into one message with the manifest around them."""

_DIGEST_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """Hold what a device says first."""

    device_id: str = ""
    agent_version: str = ""
    capabilities: frozenset[str] = frozenset()
    revision: int = 0
    """Revision of the document that it holds; 0: none."""
    sha256: bytes = b""


@dataclass(frozen=True, slots=True)
class Offer:
    """Propose a document."""

    nonce: bytes
    manifest: Manifest
    document: bytes


@dataclass(frozen=True, slots=True)
class UpToDate:
    """Confirm the document that the device holds."""

    manifest: Manifest


@dataclass(frozen=True, slots=True)
class GoAway:
    """Ask the device to close the stream; `reconnect_within` None: and not to come back."""

    reason: GoAwayReason
    reconnect_within: timedelta | None = None


Saying = Offer | UpToDate | GoAway


@dataclass(frozen=True, slots=True)
class _Unanswered:
    """Remember the offer that the device has yet to answer."""

    nonce: bytes
    revision: int
    desired: Desired


def admit(directory: Directory, device_id: str) -> DirectoryDevice:
    """Return the device whose certificate opened the stream.

    Raises UnavailableError where the device is not known (yet), DeniedError where it is retired or banned.
    """
    device = directory.devices.get(device_id)
    if device is None:
        raise UnavailableError("the directory does not show this device yet; try again", reason="DEVICE_NOT_KNOWN_YET")
    if not device.enrolled:
        raise DeniedError("the device is retired or banned; enrol it again", reason="DEVICE_NOT_ENROLLED")
    return device


def check_hello(hello: Hello, device_id: str) -> None:
    """Refuse a hello that cannot be right. Raises DeniedError for another device, InvalidError with all problems."""
    if hello.device_id not in ("", device_id):
        raise DeniedError("hello names another device than the certificate; enrol again", reason="OTHER_DEVICE")
    problems: list[Problem] = []
    if hello.revision > LARGEST_REVISION:
        problems.append(Problem("hello.revision", f"must be at most {LARGEST_REVISION}"))
    if len(hello.sha256) not in (0, _DIGEST_BYTES):
        problems.append(Problem("hello.document_sha256", f"must have {_DIGEST_BYTES} bytes, or none"))
    if bool(hello.revision) != bool(hello.sha256):
        problems.append(Problem("hello.revision", "must come with document_sha256, and neither without the other"))
    if problems:
        raise InvalidError(problems)


class Conversation:
    """Decide what to say next to one device, and take in what it says.

    One offer is under way at a time: changes that come meanwhile are one change when the device has answered.
    """

    def __init__(
        self,
        device_id: str,
        stream: str,
        *,
        book: PolicyBook,
        deliveries: DeliveryChanges,
        new_nonce: Callable[[], bytes],
    ) -> None:
        self.device_id = device_id
        self.stream = stream
        self.leaving = False
        """Whether the device has lost its credentials: it gets its last document and is sent away."""
        self._book = book
        self._deliveries = deliveries
        self._new_nonce = new_nonce
        self._understands = False
        self._delivery = Delivery(device_id)
        self._unanswered: _Unanswered | None = None
        self._confirmed = False
        self._superseded = False

    async def begin(self, hello: Hello, now: datetime) -> None:
        """Take over from any older stream of the device, and note what the device holds."""
        self._understands = CAPABILITY in hello.capabilities
        self._delivery = await self._deliveries.change(
            self.device_id,
            lambda old: old.opened(self.stream, revision=hello.revision, sha256=hello.sha256, now=now),
        )

    async def next(self, now: datetime) -> Saying | None:
        """Return what is to be said now; None: nothing. Raises UnavailableError while that cannot be known."""
        saying = None if self._superseded else await self._next(now)
        return GoAway(GoAwayReason.SUPERSEDED) if self._superseded else saying

    async def acknowledge(self, nonce: bytes, revision: int, now: datetime) -> None:
        """Take in that the device applied an offer. Raises InvalidError where the answer names none."""
        offer = self._answered("ack", nonce)
        if revision != offer.revision:
            raise InvalidError([Problem("ack.revision", f"must be {offer.revision}, the revision of the offer")])
        await self._change(lambda old: old.applied(offer.revision, offer.desired, now))
        self._unanswered = None

    async def refuse(self, nonce: bytes, reasons: tuple[str, ...], now: datetime) -> None:
        """Take in that the device refused an offer. Raises InvalidError where the answer names none."""
        offer = self._answered("nack", nonce)
        await self._change(lambda old: old.rejected(offer.revision, reasons, now))
        self._unanswered = None

    def hold(self, now: datetime) -> DeliveryStep:
        """Return the step by which the data show that the stream is open still, and what it confirmed."""
        confirmed, self._confirmed = self._confirmed, False
        return lambda old: old.held(self.stream, now, confirmed=confirmed)

    async def end(self) -> None:
        """Note that the stream is closed; that answers nothing."""
        await self._deliveries.change(self.device_id, lambda old: old.closed(self.stream))

    async def _next(self, now: datetime) -> Saying | None:
        self.leaving = not self._book.basis(self._delivery).device.enrolled
        farewell = GoAway(GoAwayReason.RETIRED) if self.leaving else None
        if self._unanswered is not None:
            return None
        if not self._understands:
            return farewell
        basis = await self._catch_up(now)
        match self._delivery.state:
            case DeliveryState.APPLIED:
                self._confirmed = True
                return farewell or UpToDate(self._manifest(now))
            case DeliveryState.REJECTED:
                return farewell
            case _:
                return await self._offer(self._book.content(basis), now)

    async def _catch_up(self, now: datetime) -> Basis:
        """Make the document that the device is to have now the newest one; return what it rests on."""
        basis = self._book.basis(self._delivery)
        mark = self._book.mark(basis)
        if basis.device.enrolled and self._delivery.loses(mark.desired):
            await self._change(lambda old: old.losing(now))
            basis = self._book.basis(self._delivery)
            mark = self._book.mark(basis)
        if self._delivery.sha256 != mark.sha256 or self._delivery.state is DeliveryState.PENDING:
            await self._change(lambda old: old.prepared(mark.sha256, mark.desired).sent(now))
        return basis

    async def _offer(self, content: bytes, now: datetime) -> Offer | None:
        revision = self._delivery.revision
        if len(content) > LARGEST_DOCUMENT:
            reason = f"the document has {len(content)} bytes, and {LARGEST_DOCUMENT} can be sent; assign less"
            await self._change(lambda old: old.rejected(revision, (reason,), now))
            return None
        self._unanswered = _Unanswered(self._new_nonce(), revision, self._delivery.desired)
        return Offer(self._unanswered.nonce, self._manifest(now), content)

    def _manifest(self, now: datetime) -> Manifest:
        delivery = self._delivery
        return Manifest(device_id=self.device_id, revision=delivery.revision, sha256=delivery.sha256, issued=now)

    def _answered(self, answer: str, nonce: bytes) -> _Unanswered:
        if self._unanswered is None or self._unanswered.nonce != nonce:
            problem = Problem(f"{answer}.nonce", "names no offer that waits for an answer; echo the offer's nonce")
            raise InvalidError([problem], reason="OFFER_UNKNOWN")
        return self._unanswered

    async def _change(self, step: DeliveryStep) -> None:
        """Take the step, unless a newer stream has begun somewhere."""
        found = await self._deliveries.change(
            self.device_id, lambda old: step(old) if old.stream == self.stream else old
        )
        if found.stream != self.stream:
            self._superseded = True
        else:
            self._delivery = found
