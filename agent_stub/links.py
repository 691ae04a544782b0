"""Keep the device's conversations going: each a session that ends, a wait, and the next session.

Every conversation runs by itself, so that one that fails holds up no other. Waits follow full jitter: anything between
zero and a bound that doubles from 1 s to 300 s, back to 1 s once the server has answered. A server that refuses the device
is asked ever more rarely, down to about once an hour.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, TypeVar

import grpc
import grpc.aio
import structlog
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from agent_stub.model import Credentials, Identity
from agent_stub.ports import Delays
from agent_stub.waits import pause_until, within

log = structlog.get_logger()

T = TypeVar("T")

BASE_SECONDS = 1.0
CAP_SECONDS = 300.0
REFUSED_CAP_SECONDS = 3600.0
"""A refusal may be over (a directory that lags, a ban that is lifted), but not because it is asked about often."""
MESSAGE_LIMIT = 4 * 1024 * 1024
WELCOME_SECONDS = 30.0
VERSION_CAPABILITY = "policy-document/1"
OUTCOMES_CAPABILITY = "request-outcomes/1"
CHANNEL_OPTIONS: Final = (
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    # A stream without news for hours is the usual case; two unanswered-for pings are not enough for it.
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_receive_message_length", MESSAGE_LIMIT),
    ("grpc.max_send_message_length", MESSAGE_LIMIT),
    # The loop below waits between tries; the channel itself must not be slower than that.
    ("grpc.max_reconnect_backoff_ms", 1_000),
)


REFUSALS = frozenset({grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED})
"""What a server says to a device that it does not want."""
ERROR_DOMAIN = "openepm"
_DOUBLINGS = 12


class SessionError(Exception):
    """The server broke the rules of the conversation."""


@asynccontextmanager
async def greeting() -> AsyncIterator[None]:
    """Bound the time that a server may take to greet; raise SessionError where it does not."""
    try:
        async with asyncio.timeout(WELCOME_SECONDS):
            yield
    except TimeoutError as error:
        raise SessionError(f"the server did not answer the hello within {WELCOME_SECONDS:.0f} s") from error


async def heard(message: Awaitable[T], silence: float, delays: Delays) -> T:
    """Give the next message; raise SessionError where it is missing for longer than a server may be silent (0: for ever)."""
    if silence <= 0:
        return await message
    found = await within(message, delays, max(silence, BASE_SECONDS))
    if found is None:
        raise SessionError(f"the server was silent for {silence:.0f} s, longer than it promised")
    return found


@dataclass(frozen=True, slots=True)
class End:
    """How a session ended in good order. `come_back_within` None: not again."""

    reason: str
    come_back_within: float | None
    """Seconds, drawn from after `not_before`."""
    not_before: float = 0.0
    still_connected: bool = False


@dataclass(slots=True)
class Link:
    """One conversation, as `epm-agent status` shows it."""

    name: str
    connected: bool = False
    problem: str = ""
    last_answer: datetime | None = None
    """When a call was last answered, where the conversation is single calls: between two of them nobody knows."""

    failures: int = field(default=0, repr=False)
    refused: bool = field(default=False, repr=False)
    """Whether the last session failed because the server does not want this device."""
    on_refused: Callable[[], None] = field(default=lambda: None, repr=False)
    """Is called whenever the server says that it does not want this device."""
    _hurry: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    def hurry(self) -> None:
        """Begin the next session as soon as the present one is over: there is something to say."""
        self._hurry.set()

    async def pause(self, delays: Delays, seconds: float) -> None:
        """Wait for the next session, or for somebody in a hurry."""
        if not self._hurry.is_set():
            await pause_until(self._hurry, delays, seconds)

    def begins(self) -> None:
        """Note that a session begins: what was hurried for until now will be said in it."""
        self._hurry.clear()
        self.refused = False

    def answered(self) -> None:
        """Note that the server has answered: the next wait is short again."""
        self.connected, self.problem, self.failures = True, "", 0
        log.info("link_connected", link=self.name)

    def failed(self, problem: str) -> None:
        """Note that a session failed."""
        self.connected, self.problem = False, problem
        self.failures += 1
        log.warning("link_failed", link=self.name, problem=problem, failures=self.failures)

    def shown(self) -> dict[str, object]:
        """Show the conversation as it is; `lastAnswered` only where calls were answered."""
        when = {} if self.last_answer is None else {"lastAnswered": self.last_answer.isoformat()}
        return {"connected": self.connected, "problem": self.problem, **when}


Session = Callable[[Link], Awaitable[End]]


async def keep(link: Link, session: Session, delays: Delays) -> None:
    """Hold sessions one after the other, until the server says not to come back."""
    while True:
        link.begins()
        end = await _hold(link, session)
        earliest = 0.0
        if end is None:
            bound = min(REFUSED_CAP_SECONDS if link.refused else CAP_SECONDS, doubled(link.failures))
        elif end.come_back_within is None:
            link.problem = f"closed by the server: {end.reason}"
            log.warning("link_closed", link=link.name, reason=end.reason)
            return
        else:
            link.problem = "" if end.still_connected else f"the server asked to come back: {end.reason}"
            bound = max(BASE_SECONDS, end.come_back_within)  # a server that says "at once" for ever is not obeyed
            earliest = end.not_before
        await link.pause(delays, earliest + delays.jitter(bound))


def doubled(failures: int) -> float:
    """Give the bound of the wait after that many failures in a row, in seconds, before any cap."""
    return BASE_SECONDS * (1 << min(failures - 1, _DOUBLINGS))


def asked_wait(error: grpc.aio.AioRpcError) -> float:
    """Give the seconds that a refusal asks to wait, an hour at most; 0 where it names none."""
    info = error_details_pb2.RetryInfo()
    if not _told(error, info):
        return 0.0
    wait: timedelta = info.retry_delay.ToTimedelta()
    return min(max(wait.total_seconds(), 0.0), REFUSED_CAP_SECONDS)


def refusal_reason(error: grpc.aio.AioRpcError) -> str:
    """Give the reason by which a server of ours refuses the device; blank where no such server says one."""
    info = error_details_pb2.ErrorInfo()
    refused = error.code() in REFUSALS and _told(error, info) and info.domain == ERROR_DOMAIN
    return str(info.reason) if refused else ""


def _told(error: grpc.aio.AioRpcError, info: Message) -> bool:
    """Fill in what the error tells of this kind; tell whether it does. Whoever spoils the details leaves the code."""
    try:
        status = rpc_status.from_call(error)  # type: ignore[arg-type]  # it reads what both kinds of errors have
        return status is not None and any(detail.Unpack(info) for detail in status.details)
    except (ValueError, DecodeError):
        return False


async def _hold(link: Link, session: Session) -> End | None:
    try:
        end = await session(link)
    except grpc.aio.AioRpcError as error:
        link.refused = error.code() in REFUSALS
        link.failed(f"{error.code().name}: {error.details()}")
        if link.refused:
            link.on_refused()
    except (SessionError, OSError) as error:
        link.failed(str(error))
    except asyncio.InvalidStateError:  # so gRPC says that a stream was over when something was to be said on it
        link.failed("the server ended the stream while the device was answering")
    except Exception:  # one conversation must not take the agent down; the log has the traceback
        log.exception("link_broken", link=link.name)
        link.failed("internal error")
    else:
        link.connected = end.still_connected
        return end
    return None


class Channels:
    """The connections of the device; equal addresses share one."""

    def __init__(self, identity: Identity, credentials: Credentials) -> None:
        self._identity = identity
        self._credentials = grpc.ssl_channel_credentials(
            root_certificates=credentials.ca,
            private_key=credentials.key,
            certificate_chain=credentials.certificate,
        )
        self._open: dict[str, grpc.aio.Channel] = {}

    def to(self, address: str) -> grpc.aio.Channel:
        """Give the channel to an address."""
        if address not in self._open:
            self._open[address] = grpc.aio.secure_channel(address, self._credentials, options=CHANNEL_OPTIONS)
        return self._open[address]

    async def close(self) -> None:
        """Close all."""
        for channel in self._open.values():
            await channel.close(grace=0)
