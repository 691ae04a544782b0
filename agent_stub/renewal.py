"""Renew the device's certificate at half its life, without a moment in which the device has none.

The new certificate is a candidate until the server took it: the agent checks in by it, and only then promotes it and opens
its streams anew. While there is a candidate nothing checks in by the old certificate: the server may already have given
that one up, and who still checks in by it looks like a copy of the device.
"""

import asyncio
import hashlib
from collections.abc import Callable
from datetime import datetime, timedelta

import grpc.aio
import structlog
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from agent_stub.checkin import DEADLINE_SECONDS
from agent_stub.identity_store import CandidateStore
from agent_stub.keys import certificate_problems, certificates, signing_request
from agent_stub.links import REFUSALS, REFUSED_CAP_SECONDS, Channels, SessionError, asked_wait, doubled
from agent_stub.model import Credentials, Identity, Moment
from agent_stub.ports import Clock, Delays
from agent_stub.waits import pause_until
from epm.device.v1 import agent_pb2, agent_pb2_grpc

log = structlog.get_logger()

HALF, SPREAD = 0.5, 0.1
"""Renewals of devices that enrolled together are spread over this part of the certificate's life."""
LOOK_EVERY = timedelta(hours=1)
"""The wall clock may be set, so a renewal that is months away is not slept through."""
SHORTEST_LIFE = timedelta(seconds=5)
WRONG_CLOCK_PAUSE = timedelta(hours=1)
EXPIRED = (
    "the certificate expired at {expires}, so no server lets this device in; check the device's clock, or move the state "
    "folder away and run `epm-agent enroll` with a new token for this device"
)


class Certificates:
    """The connections by the certificate in use and, during a renewal, by the candidate that is to follow it."""

    def __init__(self, identity: Identity, credentials: Credentials, store: CandidateStore) -> None:
        self._identity = identity
        self._store = store
        self._candidate = store.load()
        self._following = Channels(identity, self._candidate) if self._candidate else None
        self._unfinished = False
        self.credentials = credentials
        self.channels = Channels(identity, credentials)
        self.tried = asyncio.Event()
        """Set once a candidate that was there at the start was tried, or there was none."""
        self.changed = asyncio.Event()
        """Set when a candidate came, was promoted or was given up; whoever waits clears it."""
        self.promoted = asyncio.Event()
        """Set when `channels` are others; whoever waits clears it."""
        self.problem = ""
        if self._candidate is None:
            self.tried.set()

    @property
    def on_trial(self) -> bool:
        """Tell whether there is a candidate."""
        return self._candidate is not None

    async def check_in(self, request: agent_pb2.CheckInRequest) -> agent_pb2.CheckInResponse:
        """Check in by the candidate, else by the certificate in use; an answer promotes the candidate."""
        candidate, channels = self._candidate, self._following or self.channels
        stub = agent_pb2_grpc.DeviceAgentServiceStub(channels.to(self._identity.device_address))
        try:
            response = await stub.CheckIn(request, timeout=DEADLINE_SECONDS)
        except grpc.aio.AioRpcError as error:
            if candidate is not None:
                await self._not_taken(error)
            raise
        finally:
            self.tried.set()
        if candidate is not None and candidate is self._candidate:
            self._promote(candidate, channels)
        return response

    async def renew(self) -> Credentials:
        """Get a candidate by the certificate in use; raise AioRpcError, SessionError or OSError."""
        if self._unfinished:
            self._finish()
        key = self._store.key()
        stub = agent_pb2_grpc.DeviceAgentServiceStub(self.channels.to(self._identity.device_address))
        request = agent_pb2.RenewCertificateRequest(csr_pem=signing_request(key, self._identity.device_name))
        try:
            response = await stub.RenewCertificate(request, timeout=DEADLINE_SECONDS)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.INVALID_ARGUMENT:
                self._store.discard()  # the next try is with another key
            raise
        name = f"spiffe://{self._identity.trust_domain}/device/{self._identity.device_id}"
        if problems := list(certificate_problems(response.certificate_pem, response.ca_pem, key, name)):
            raise SessionError(f"the server sent a certificate that does not fit: {'; '.join(problems)}")
        candidate = self._store.keep(key, response.certificate_pem.encode(), response.ca_pem.encode())
        self._candidate, self._following = candidate, Channels(self._identity, candidate)
        self.changed.set()
        log.info("certificate_renewed", expires=leaf_of(candidate).not_valid_after_utc.isoformat())
        return candidate

    async def close(self) -> None:
        """Close all connections."""
        await self.channels.close()
        if self._following is not None:
            await self._following.close()

    def _promote(self, candidate: Credentials, channels: Channels) -> None:
        self.credentials, self.channels = candidate, channels
        self._candidate = self._following = None
        self.problem = ""
        try:
            self._finish()
        except OSError as error:
            # The candidate is stored and will be tried first at the next start; until then it is used from memory.
            self.problem = f"the new certificate cannot take its place on the disk ({error.strerror}); repair the disk"
            log.warning("certificate_not_promoted", error=error.strerror)
        self.promoted.set()
        self.changed.set()
        log.info("certificate_promoted")

    def _finish(self) -> None:
        self._unfinished = True
        self._store.promote()
        self._unfinished = False

    async def _not_taken(self, error: grpc.aio.AioRpcError) -> None:
        """Give a candidate up that the server refuses; one that was not heard is tried again."""
        self.problem = f"the new certificate was not taken yet: {error.code().name}: {error.details()}"
        if error.code() not in REFUSALS or self._following is None:
            return
        log.warning("certificate_candidate_refused", problem=self.problem)
        following, self._candidate, self._following = self._following, None, None
        self._store.discard()
        self.changed.set()
        await following.close()


class Renewal:
    """When the certificate is renewed."""

    def __init__(
        self, certificates: Certificates, *, clock: Clock, delays: Delays, candidate_came: Callable[[], None]
    ) -> None:
        self._certificates = certificates
        self._clock = clock
        self._delays = delays
        self._candidate_came = candidate_came
        self._earliest = timedelta(0)
        self._awaited: Credentials | None = None
        self._failures = 0
        self._asked_wait = 0.0
        self._problem = ""

    async def keep(self) -> None:
        """Renew whenever half of the life is over, until cancelled."""
        while True:
            self._certificates.changed.clear()
            if self._certificates.on_trial:
                await self._pause_until_changed(LOOK_EVERY)
                continue
            if self._awaited is not None:
                self._judge(self._awaited)
            left = self._left(self._clock.now())
            if self._failures:
                earliest, self._asked_wait = self._asked_wait, 0.0
                bound = max(earliest, min(REFUSED_CAP_SECONDS, doubled(self._failures)))
                await self._delays.pause(earliest + self._delays.jitter(bound))
            elif left > timedelta(0):
                await self._pause_until_changed(min(left, LOOK_EVERY))
                continue
            await self._renew()

    async def _pause_until_changed(self, longest: timedelta) -> None:
        await pause_until(self._certificates.changed, self._delays, longest.total_seconds())

    def _judge(self, awaited: Credentials) -> None:
        """See what became of a candidate."""
        self._awaited = None
        if self._certificates.credentials is not awaited:
            self._failures += 1
            return
        self._failures = 0
        now, life = self._clock.now(), leaf_of(awaited).not_valid_after_utc
        # A short life, or a clock that is wrong, must not make one renewal the reason of the next.
        pause = max(SHORTEST_LIFE, (life - now.wall) / 2) if life > now.wall else WRONG_CLOCK_PAUSE
        self._earliest = now.since_boot + pause

    def shown(self) -> dict[str, object]:
        """Show until when the certificate counts, when it is renewed, and what is wrong with it."""
        leaf = leaf_of(self._certificates.credentials)
        expires = leaf.not_valid_after_utc
        expired = EXPIRED.format(expires=expires.isoformat()) if expires <= self._clock.now().wall else ""
        return {
            "expires": expires.isoformat(),
            "renewal": renewal_time(leaf).isoformat(),
            "problem": expired or self._problem or self._certificates.problem,
        }

    async def _renew(self) -> None:
        try:
            self._awaited = await self._certificates.renew()
        except grpc.aio.AioRpcError as error:
            self._asked_wait = asked_wait(error)
            self._failed(f"{error.code().name}: {error.details()}")
        except (SessionError, OSError) as error:
            self._failed(str(error))
        except Exception:  # a device whose certificate is not renewed still works; the log has the traceback
            log.exception("renewal_broken")
            self._failed("internal error of the agent; its log says more")
        else:
            self._problem = ""
            self._candidate_came()

    def _failed(self, reason: str) -> None:
        self._failures += 1
        self._problem = f"the certificate was not renewed: {reason}"
        log.warning("certificate_not_renewed", reason=reason, failures=self._failures)

    def _left(self, now: Moment) -> timedelta:
        due = renewal_time(leaf_of(self._certificates.credentials)) - now.wall
        return max(due, self._earliest - now.since_boot)


def leaf_of(credentials: Credentials) -> x509.Certificate:
    """Give the device's own certificate."""
    return certificates(credentials.certificate)[0]


def renewal_time(certificate: x509.Certificate) -> datetime:
    """Give the time at which a certificate is renewed: the same at every start, and another for every certificate."""
    digest = hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).digest()
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return begins + (ends - begins) * (HALF + SPREAD * int.from_bytes(digest[:4]) / 2**32)
