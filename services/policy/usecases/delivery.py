"""What is said on a policy stream: admit a device, offer what is new to it, confirm what is not, hear its answers."""

from collections.abc import Callable
from datetime import datetime, timedelta

from services._chassis.errors import UnavailableError
from services.policy.model.delivery import Delivery, GoAwayReason, Held
from services.policy.model.manifest import Manifest, SigningKeys
from services.policy.model.states import DeliveryState
from services.policy.ports import DeliveryChanges, DeliveryStep
from services.policy.usecases.bases import Basis, Mark
from services.policy.usecases.contained import made_for
from services.policy.usecases.documents import PolicyBook
from services.policy.usecases.hello import Hello
from services.policy.usecases.offered import Offered, answered
from services.policy.usecases.sayings import GoAway, Offer, Saying, UpToDate, lost_to

CAPABILITY = "policy-document/1"
LARGEST_DOCUMENT = 4 * 1024 * 1024 - 4096
"""Bytes that fit into one message with the manifest around them."""

UNKNOWN_KEYS = "the device trusts none of the keys that sign policy; put back one that it trusts, or enrol it again"
"""Why nothing is offered to a device that could not verify it."""

TOO_OLD = f"the agent is too old: it does not say that it understands {CAPABILITY}; install a newer one"
GIVEN_UP = frozenset({(UNKNOWN_KEYS,), (TOO_OLD,)})
"""Reasons of ours to offer nothing; another stream may show that they hold no more."""

SHORTEST_WAIT = timedelta(minutes=1)
"""Before what a device put off is offered to it again."""


def is_owed_farewell(hello: Hello) -> bool:
    """Tell whether a retired device still has to hear that nothing counts any more: it holds a policy, and understands another."""
    return hello.revision > 0 and CAPABILITY in hello.capabilities


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
        keys: SigningKeys,
        wait: timedelta = SHORTEST_WAIT,
    ) -> None:
        self.device_id = device_id
        self.stream = stream
        self.run_id = ""
        self.stale_after: timedelta | None = None
        """For how long the newest document counts unconfirmed. None: for ever, or it is not known yet."""
        self._book = book
        self._keys = keys
        self._wait = max(wait, SHORTEST_WAIT)
        self._key_id: str | None = None
        self._deliveries = deliveries
        self._new_nonce = new_nonce
        self._understands = False
        self._delivery = Delivery(device_id)
        self._prepared: Basis | None = None
        """What the newest document rests on, if it was prepared beside the conversation and not looked at since."""
        self._unanswered: Offered | None = None
        self._confirmed: datetime | None = None
        """When the device was sent a confirmation that the data do not show yet."""
        self._missed = False
        """Whether there may have been something to say while an answer was waited for."""
        self._superseded: GoAway | None = None

    async def begin(self, hello: Hello, now: datetime) -> bool:
        """Take over from any older stream of the device, and note what the device holds; tell whether it looks like two.

        The document that it is to have becomes the newest one in the same step, where no more than that is to be done.
        Raises UnavailableError where the directory does not show yet that the device enrolled again.
        """
        life = self._book.life(self.device_id)
        self._understands = CAPABILITY in hello.capabilities
        self.run_id = hello.run_id
        self._key_id = self._keys.common(hello.key_ids)
        ready = made_for(self.device_id, self._ready)
        alternates = prepares = False

        def open_stream(old: Delivery) -> Delivery:
            nonlocal alternates, prepares
            prepares = False
            if old.outlives(life):
                return old
            known = old.in_life(life)
            alternates = known.alternates(hello.run_id)
            opened = known.opened(self.stream, revision=hello.revision, sha256=hello.sha256, now=now)
            retried = opened.retried() if known.rejections in GIVEN_UP else opened
            introduced = retried.introduced(hello.run_id, hello.key_ids)
            prepares = ready is not None and self._lacks(introduced, *ready, now)
            return self._preparing(ready[1], now)(introduced) if ready and prepares else introduced

        self._delivery = await self._deliveries.change(self.device_id, open_stream)
        if self._delivery.stream != self.stream:
            raise UnavailableError("the device has enrolled again, it seems; try again", reason="DIRECTORY_BEHIND")
        self._prepared = ready[0] if ready and prepares else None
        return alternates

    @property
    def delivery(self) -> Delivery:
        """Return what was known of the device's policy when this stream last changed it."""
        return self._delivery

    @property
    def leaving(self) -> bool:
        """Tell whether the device has lost its credentials: it gets its last document and is sent away."""
        return self._book.has_lost_credentials(self.device_id)

    @property
    def waits(self) -> bool:
        """Tell whether the device has yet to answer an offer."""
        return self._unanswered is not None

    @property
    def resumes(self) -> bool:
        """Tell whether there may be something to say now that the device has answered."""
        settled = self._delivery.state in (DeliveryState.APPLIED, DeliveryState.REJECTED)
        return self._missed or self._superseded is not None or self.leaving or not settled

    def preparation(self, now: datetime) -> "DeliveryStep | None":
        """Return the step by which the device's document becomes the newest one, for many devices to be changed at once.

        None: there is no need, or `next` has more to do than that. What the step leads to is for `take`.
        """
        idle = self._understands and self._unanswered is None and self._delivery.stream == self.stream
        if not idle or self._superseded:
            return None
        basis = self._book.basis(self._delivery)
        mark = self._book.mark(basis)
        if not self._lacks(self._delivery, basis, mark, now):
            return None
        self._prepared = basis
        return self._own(self._preparing(mark, now))

    def take(self, found: Delivery) -> None:
        """Take in what a step led to: perhaps a newer stream has begun somewhere."""
        if found.stream != self.stream:
            self._superseded = lost_to(found, self.run_id)
        else:
            self._delivery = found

    async def next(self, now: datetime, *, confirms: bool = True) -> Saying | None:
        """Return what is to be said now; None: nothing. Raises UnavailableError while that cannot be known.

        `confirms` tells whether the device hears of it that it holds the newest document.
        """
        saying: Saying | None = None
        if self._superseded is None:
            saying = self._offer_prepared(now) or await self._next(now, confirms=confirms)
        return self._superseded or saying

    async def acknowledge(self, nonce: bytes, revision: int, now: datetime) -> None:
        """Take in that the device applied an offer, and knows the keys that it told of. Raises InvalidError where the answer names none."""
        offer = answered(self._unanswered, "ack", nonce=nonce, revision=revision)
        told = self._keys.ids
        await self._change(
            lambda old: old.applied(offer.revision, offer.desired, now, bundle=offer.bundle).introduced_to(told)
        )
        self._unanswered = None

    async def refuse(
        self, nonce: bytes, reasons: tuple[str, ...], now: datetime, *, revision: int, temporary: bool = False
    ) -> None:
        """Take in that the device refused an offer; `revision` 0: it could not read which. Raises InvalidError where the answer names none."""
        offer = answered(self._unanswered, "nack", nonce=nonce, revision=revision, unread=0)
        await self._change(lambda old: old.rejected(offer.revision, reasons, now, temporary=temporary))
        self._unanswered = None

    def hold(self, now: datetime) -> Held:
        """Tell that the stream is open still, and what it confirmed."""
        confirmed, self._confirmed = self._confirmed, None
        return Held(device_id=self.device_id, stream=self.stream, seen=now, confirmed=confirmed)

    async def end(self, now: datetime) -> None:
        """Note that the stream is closed; that answers nothing."""
        await self._deliveries.change(
            self.device_id, lambda old: old.closed(self.stream, now, confirmed=self._confirmed)
        )

    def _offer_prepared(self, now: datetime) -> Offer | None:
        """Offer what was prepared, if nothing has moved since: then all was looked at that `_next` looks at."""
        prepared, self._prepared = self._prepared, None
        if prepared is None or self._unanswered is not None or self._key_id is None:
            return None
        if self._delivery.state is not DeliveryState.OFFERED or self._book.basis(self._delivery) is not prepared:
            return None
        mark = self._book.mark(prepared)
        if self._is_news(self._delivery, mark, now) or len(content := self._book.content(prepared)) > LARGEST_DOCUMENT:
            return None
        self._note_stale_after(mark)
        return self._offering(content, self._key_id, now)

    async def _next(self, now: datetime, *, confirms: bool) -> Saying | None:
        basis = self._book.basis(self._delivery)
        farewell = None if basis.device.enrolled else GoAway(GoAwayReason.RETIRED)
        if self._unanswered is not None:
            self._missed = True
            return None
        basis = await self._catch_up(basis, now)
        key_id = self._key_id
        if key_id is None or not self._understands:
            await self._give_up(UNKNOWN_KEYS if self._understands else TOO_OLD)
            return farewell
        match self._delivery.state:
            case DeliveryState.APPLIED if confirms and farewell is None:
                self._confirmed = now
                return UpToDate(self._manifest(key_id, now))
            case DeliveryState.APPLIED | DeliveryState.REJECTED:
                return farewell
            case _:
                return await self._offer(self._book.content(basis), key_id, now)

    async def _catch_up(self, basis: Basis, now: datetime) -> Basis:
        """Make the document that the device is to have now the newest one; return what it rests on."""
        mark = self._book.mark(basis)
        if basis.device.enrolled and self._delivery.loses(mark.desired):
            await self._change(lambda old: old.losing(now))
            basis = self._book.basis(self._delivery)
            mark = self._book.mark(basis)
        if self._is_news(self._delivery, mark, now):
            await self._change(self._preparing(mark, now))
        self._note_stale_after(mark)
        return basis

    def _note_stale_after(self, mark: Mark) -> None:
        self.stale_after = mark.bundle.contents.stale_after if mark.bundle.contents else None

    def _ready(self) -> tuple[Basis, Mark] | None:
        """Return what the document rests on that the device is expected to get; None: it gets no other one now."""
        basis = self._book.expected(self.device_id)
        return (basis, self._book.mark(basis)) if self._understands and basis.device.enrolled else None

    def _lacks(self, delivery: Delivery, basis: Basis, mark: Mark, now: datetime) -> bool:
        """Tell whether all that is to be done is to make this document the newest one."""
        if not basis.device.enrolled or delivery.lost != basis.lost or delivery.loses(mark.desired):
            return False
        return self._is_news(delivery, mark, now)

    def _is_news(self, delivery: Delivery, mark: Mark, now: datetime) -> bool:
        if delivery.sha256 != mark.sha256 or (delivery.bundle is not mark.bundle and delivery.bundle != mark.bundle):
            return True
        return (
            delivery.state is DeliveryState.PENDING
            or delivery.regains(mark.desired)
            or delivery.is_due(now, self._wait)
        )

    def _preparing(self, mark: Mark, now: datetime) -> DeliveryStep:
        content = mark.sha256, mark.desired, mark.bundle
        return lambda old: old.renewed(now, self._wait).prepared(*content, offered=now).sent(now)

    async def _offer(self, content: bytes, key_id: str, now: datetime) -> Offer | None:
        if len(content) > LARGEST_DOCUMENT:
            reason = f"the document has {len(content)} bytes, and {LARGEST_DOCUMENT} can be sent; assign less"
            await self._give_up(reason)
            return None
        return self._offering(content, key_id, now)

    def _offering(self, content: bytes, key_id: str, now: datetime) -> Offer:
        delivery = self._delivery
        self._missed = False
        self._unanswered = Offered(self._new_nonce(), delivery.revision, delivery.desired, delivery.bundle)
        return Offer(self._unanswered.nonce, self._manifest(key_id, now), content)

    async def _give_up(self, reason: str) -> None:
        """Offer nothing, and let administrators see why."""
        if self._delivery.rejections != (reason,):
            await self._change(lambda old: old.given_up(reason))

    def _manifest(self, key_id: str, now: datetime) -> Manifest:
        delivery = self._delivery
        return Manifest(
            device_id=self.device_id, revision=delivery.revision, sha256=delivery.sha256, issued=now, key_id=key_id
        )

    async def _change(self, step: DeliveryStep) -> None:
        """Take the step, unless a newer stream has begun somewhere."""
        self.take(await self._deliveries.change(self.device_id, self._own(step)))

    def _own(self, step: DeliveryStep) -> DeliveryStep:
        """Return the step as it is to be taken: not at all once there is a newer stream."""
        return lambda old: step(old) if old.stream == self.stream else old
