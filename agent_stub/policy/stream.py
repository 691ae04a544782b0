"""Hold the policy stream: say what the device has, take offers, answer them."""

from collections.abc import Callable
from datetime import datetime

import grpc.aio
import structlog
from google.protobuf.message import DecodeError

from agent_stub.links import (
    OUTCOMES_CAPABILITY,
    VERSION_CAPABILITY,
    End,
    Link,
    SessionError,
    greeting,
    heard,
    refusal_reason,
)
from agent_stub.policy.keeper import PolicyKeeper
from agent_stub.policy.manifest import PolicyRefusedError
from agent_stub.ports import Delays
from epm.policy.v1 import agent_pb2, agent_pb2_grpc

log = structlog.get_logger()

REASONS_LIMIT = 1000
LOGGED_REASONS = 20
SILENT_BEATS = 2
"""A stream on which this many heartbeats are missing is dead, whatever the connection says."""
LONGEST_THROTTLE_SECONDS = 3600.0
CAUGHT_UP = End("a policy that was refused is in force now", 0.0, still_connected=True)
"""The server learns it from the hello of the next stream."""


DISMISSALS = frozenset({"DEVICE_NOT_ENROLLED", "DEVICE_BANNED", "DEVICE_UNKNOWN"})
"""Reasons by which the policy service says that the device is retired, banned or deleted."""
RETIRED = "RETIRED"


class PolicyStream:
    """The device's side of `StreamPolicy`. `changed` is called after an offer was applied, `refused` after one was not.

    Where the policy service says that the device is its device no more, no policy is in force any more, and `changed` is
    called. INVARIANT: only who showed a certificate of the installation's CA for its address is heard here at all; what a
    network, a proxy or another service says ends nothing.

    `introduction` says who speaks; what the device holds is added at every connect. An offer that was refused for want of
    room, or for the clock, is tried again whenever the server is heard: that is sooner than the server offers it again.
    """

    def __init__(
        self,
        stub: "agent_pb2_grpc.PolicyStreamServiceAsyncStub",
        keeper: PolicyKeeper,
        introduction: Callable[[], agent_pb2.Hello],
        *,
        delays: Delays,
        now: Callable[[], datetime],
        changed: Callable[[], None],
        refused: Callable[[PolicyRefusedError], None],
    ) -> None:
        self._stub = stub
        self._keeper = keeper
        self._introduction = introduction
        self._delays = delays
        self._now = now
        self._changed = changed
        self._refused = refused
        self._keep_outcome: Callable[[agent_pb2.RequestOutcome], None] | None = None
        self._put_off: agent_pb2.Offer | None = None

    def take_outcomes(self, keep: Callable[[agent_pb2.RequestOutcome], None]) -> None:
        """Let the server tell what became of requests; `keep` makes each durable, or raises OSError."""
        self._keep_outcome = keep

    async def session(self, link: Link) -> End:
        """Hold one stream until it ends."""
        try:
            end = await self._hold(link)
        except grpc.aio.AioRpcError as error:
            if (reason := refusal_reason(error)) in DISMISSALS:
                self._dismiss(reason)
            raise
        if end.reason == RETIRED:
            self._dismiss(end.reason)
        return end

    async def _hold(self, link: Link) -> End:
        call = self._stub.StreamPolicy()
        try:
            async with greeting():
                await call.write(agent_pb2.StreamPolicyRequest(hello=self._hello()))
                first = await call.read()
            if isinstance(first, agent_pb2.StreamPolicyResponse) and (end := _end(first)) is not None:
                return end
            if not isinstance(first, agent_pb2.StreamPolicyResponse) or not first.HasField("welcome"):
                raise SessionError("the server did not answer the hello with a welcome")
            link.answered()
            silence = SILENT_BEATS * first.welcome.heartbeat.ToTimedelta().total_seconds()
            while isinstance(
                response := await heard(call.read(), silence, self._delays), agent_pb2.StreamPolicyResponse
            ):
                if (end := _end(response)) is not None:
                    return end
                answer = self._answer(response)
                if answer is not None:
                    await call.write(answer)
                elif self._catches_up():
                    return CAUGHT_UP
            raise SessionError(f"the server ended the stream: {await call.details() or 'without a reason'}")
        finally:
            call.cancel()

    def _hello(self) -> agent_pb2.Hello:
        hello = self._introduction()
        hello.capabilities.append(VERSION_CAPABILITY)
        if self._keep_outcome is not None:
            hello.capabilities.append(OUTCOMES_CAPABILITY)
        hello.policy_key_ids.extend(self._keeper.key_ids)
        if (held := self._keeper.held) is not None:
            hello.revision = held.revision
            hello.document_sha256 = held.sha256
        return hello

    def _answer(self, response: agent_pb2.StreamPolicyResponse) -> agent_pb2.StreamPolicyRequest | None:
        match response.WhichOneof("message"):
            case "offer":
                return self._take(response.offer)
            case "up_to_date":
                self._confirm(response.up_to_date)
                return None
            case "outcome" if self._keep_outcome is not None:
                return _kept(response.outcome, self._keep_outcome)
            case "welcome":
                return None  # the server lives, and has nothing to confirm
            case other:
                raise SessionError(f"the server sent {other or 'nothing'} where an offer was due")

    def _take(self, offer: agent_pb2.Offer) -> agent_pb2.StreamPolicyRequest:
        self._put_off = None
        try:
            revision = self._keeper.apply(offer, self._now())
        except PolicyRefusedError as error:
            if error.passes:
                self._put_off = offer
            log.warning("policy_refused", reasons=error.reasons[:LOGGED_REASONS], count=len(error.reasons))
            self._refused(error)
            reasons = _bounded(error.reasons)
            nack = agent_pb2.Nack(
                nonce=offer.nonce, revision=_claimed_revision(offer), reasons=reasons, temporary=error.passes
            )
            return agent_pb2.StreamPolicyRequest(nack=nack)
        log.info("policy_applied", revision=revision)
        self._changed()
        return agent_pb2.StreamPolicyRequest(ack=agent_pb2.Ack(nonce=offer.nonce, revision=revision))

    def _dismiss(self, reason: str) -> None:
        self._put_off = None
        if self._keeper.dismiss():
            log.warning("policy_dismissed", reason=reason)
            self._changed()

    def _catches_up(self) -> bool:
        """Try again what was put off; tell whether it is in force now. That it is not yet was said already."""
        if self._put_off is None:
            return False
        try:
            revision = self._keeper.apply(self._put_off, self._now())
        except PolicyRefusedError:
            return False
        self._put_off = None
        log.info("policy_applied", revision=revision)
        self._changed()
        return True

    def _confirm(self, up_to_date: agent_pb2.UpToDate) -> None:
        try:
            self._keeper.confirm(up_to_date.signed_manifest, self._now())
        except PolicyRefusedError as error:
            log.warning("policy_not_confirmed", reasons=error.reasons)
            self._refused(error)


def _kept(
    outcome: agent_pb2.RequestOutcome, keep: Callable[[agent_pb2.RequestOutcome], None]
) -> agent_pb2.StreamPolicyRequest:
    try:
        keep(outcome)
    except OSError as error:
        # To confirm a later one would confirm this one too. After the next hello all come again.
        problem = (error.strerror or "input/output error").lower()
        raise SessionError(
            f"what became of a request cannot be kept ({problem}); make room or repair the disk"
        ) from error
    return agent_pb2.StreamPolicyRequest(outcomes_kept=agent_pb2.OutcomesKept(sequence=outcome.sequence))


def _bounded(reasons: list[str]) -> list[str]:
    """Keep the answer below the limit of a message: an answer that cannot be sent would bring the offer back for ever."""
    rest = len(reasons) - REASONS_LIMIT
    return reasons if rest <= 0 else [*reasons[:REASONS_LIMIT], f"and {rest} more"]


def _claimed_revision(offer: agent_pb2.Offer) -> int:
    """Read the revision of an offer that was refused, for the answer alone."""
    try:
        return agent_pb2.Manifest.FromString(offer.signed_manifest.manifest).revision
    except DecodeError:
        return 0


def _end(response: agent_pb2.StreamPolicyResponse) -> End | None:
    """Read the message that ends a stream; None for any other."""
    if response.HasField("throttle"):
        seconds = response.throttle.retry_after.ToTimedelta().total_seconds()
        seconds = min(max(seconds, 0.0), LONGEST_THROTTLE_SECONDS)
        return End(f"too many devices come at once, not before {seconds:.0f} s", seconds, not_before=seconds)
    if not response.HasField("go_away"):
        return None
    go_away = response.go_away
    reason = agent_pb2.GoAwayReason.Name(go_away.reason) if go_away.reason in agent_pb2.GoAwayReason.values() else "?"
    within = go_away.reconnect_within.ToTimedelta().total_seconds() if go_away.HasField("reconnect_within") else None
    return End(reason.removeprefix("GO_AWAY_REASON_"), within)
