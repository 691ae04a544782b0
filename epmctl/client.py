"""Talk gRPC to the public address of a server, and say in one line what went wrong and what to do.

Every call has a deadline. What the server refuses with field violations is bad input (exit 2); everything else that
fails is exit 1.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final, TypeVar

# What went wrong is said by us, once; gRPC would add lines of its own to standard error.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from epmctl.errors import BadInputError, CommandError
from epmctl.profile import Profile, find_profile, save_profile
from epmctl.reason import as_metadata

Request = TypeVar("Request")
Response = TypeVar("Response")
Entry = TypeVar("Entry")

DEADLINE: Final = 15.0
"""Seconds that a call may take."""

APPLY_DEADLINE: Final = 60.0
"""Seconds that a call may take which writes many objects and may wait for the directory."""

_OPTIONS: Final = (
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
    ("grpc.enable_http_proxy", 0),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
)
LARGEST_PAGE: Final = 1000

_FORMS: Final = {
    grpc.StatusCode.DEADLINE_EXCEEDED: "{server} did not answer in time; is it up and is the address right?",
    grpc.StatusCode.UNAUTHENTICATED: "{server} does not accept the token ({details}); run epm login with a fresh one",
    grpc.StatusCode.UNIMPLEMENTED: "{server} does not know this call; is it the public address of an OpenEPM server?",
    grpc.StatusCode.PERMISSION_DENIED: "not allowed: {details}",
}
_UNCLEAR: Final = frozenset(
    {
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.UNKNOWN,
    }
)


_NEVER_STOOD: Final = "failed to connect"
_BROKE: Final[Mapping[tuple[str, ...], str]] = {
    ("socket closed", "connection reset", "broken pipe", "stream removed", "goaway"): (
        "the connection to {server} broke before all was said; try again"
    )
}
_CAUSES: Final[Mapping[tuple[str, ...], str]] = {
    ("hostname verification", "peer name"): (
        "the certificate of {server} is for another name; use a name that it was issued for"
    ),
    ("certificate_verify_failed", "certificate verify failed"): (
        "the certificate of {server} is not signed by the given CA; give the CA file of this server (--ca, EPM_CA)"
    ),
    ("handshake failed", "socket closed"): (
        "{server} talks no TLS that we understand; is it the public address of an OpenEPM server?"
    ),
    ("errors resolving", "dns"): "the name in {server} cannot be resolved; check the address",
    ("connection refused",): "{server} refuses connections; is the server running there?",
}
"""What is in gRPC's words where no connection comes about, and what we say."""


class CallError(CommandError):
    """The server, or the way to it, failed a call."""

    def __init__(self, line: str, code: grpc.StatusCode) -> None:
        super().__init__(line)
        self.code = code

    @property
    def absent(self) -> bool:
        """Tell whether the server says that there is no such thing."""
        return self.code is grpc.StatusCode.NOT_FOUND

    @property
    def unclear(self) -> bool:
        """Tell whether the call may have done its work all the same."""
        return self.code in _UNCLEAR


class RefusedInputError(BadInputError):
    """The server finds fault with fields of the request; `violations` are pairs of field and description."""

    def __init__(self, violations: Sequence[tuple[str, str]]) -> None:
        super().__init__(*(f"{field}: {said}" if field else said for field, said in violations))
        self.violations = tuple(violations)


class Client:
    """A connection to one server, as one principal; every call carries the reason, if there is one."""

    def __init__(self, channel: grpc.Channel, server: str, reason: str = "") -> None:
        self.channel = channel
        self._server = server
        self._metadata = as_metadata(reason)

    def call(
        self,
        method: "grpc.UnaryUnaryMultiCallable[Request, Response]",
        request: Request,
        *,
        deadline: float | None = DEADLINE,
        wait: bool = False,
    ) -> Response:
        """Call a method, where asked for as soon as there is a connection (`wait`); raise CommandError where it fails."""
        try:
            if wait:
                return method(request, timeout=deadline, metadata=self._metadata, wait_for_ready=True)
            return method(request, timeout=deadline, metadata=self._metadata)
        except grpc.RpcError as error:
            raise explain_error(error, self._server) from None

    def stream(
        self, method: "grpc.UnaryStreamMultiCallable[Request, Response]", request: Request, *, deadline: float | None
    ) -> Iterator[Response]:
        """Give what a method streams until it ends; raise CommandError where it fails or the time is up (None: never)."""
        call = method(request, timeout=deadline, metadata=self._metadata)
        try:
            yield from call
        except grpc.RpcError as error:
            raise explain_error(error, self._server) from None
        finally:
            call.cancel()

    def converse(
        self,
        method: "grpc.StreamStreamMultiCallable[Request, Response]",
        requests: Iterator[Request],
        *,
        deadline: float | None,
    ) -> Iterator[Response]:
        """Give what a method streams while it is told more; raise CommandError where it fails or the time is up."""
        call = method(requests, timeout=deadline, metadata=self._metadata)
        try:
            yield from call
        except grpc.RpcError as error:
            raise explain_error(error, self._server) from None
        finally:
            call.cancel()

    def pages(self, fetch: Callable[[int, str], tuple[Sequence[Entry], str]], *, limit: int | None) -> Iterator[Entry]:
        """Give up to `limit` entries (None: all); `fetch` takes page size and token, gives entries and the next token."""
        token, left = "", limit
        while left is None or left > 0:
            entries, token = fetch(LARGEST_PAGE if left is None else min(left, LARGEST_PAGE), token)
            yield from entries if left is None else entries[:left]
            left = None if left is None else left - len(entries)
            if not token:
                return


@contextmanager
def logged_in(reason: str = "") -> Iterator[Client]:
    """Open a connection to the server of the profile; raise BadInputError where nobody is logged in."""
    with connected(with_fresh_token(find_profile(os.environ)), reason) as client:
        yield client


@contextmanager
def connected(profile: Profile, reason: str = "") -> Iterator[Client]:
    """Open a connection for the time of a block, as nobody without a token; the only roots are those of the profile."""
    credentials = grpc.ssl_channel_credentials(root_certificates=profile.ca.encode())
    if profile.token:
        own = grpc.access_token_call_credentials(profile.token)
        credentials = grpc.composite_channel_credentials(credentials, own)
    with grpc.secure_channel(profile.server, credentials, options=_OPTIONS) as channel:
        yield Client(channel, profile.server, reason)


def with_fresh_token(profile: Profile) -> Profile:
    """Renew a token of an identity provider that is about to end, and keep the new one."""
    if profile.identity is None:
        return profile
    from epmctl.oidc import renew  # noqa: PLC0415 - few tokens come from an identity provider, and fewer end now

    try:
        login = renew(profile.token, profile.identity, datetime.now(UTC))
    except CommandError:
        other = find_profile(os.environ)  # a command beside this one may have been first
        if other.token == profile.token:
            raise
        return other
    if login is None:
        return profile
    renewed = replace(profile, token=login.token, identity=login.identity)
    save_profile(renewed, os.environ)
    return renewed


def explain_error(error: grpc.RpcError, server: str) -> CommandError:
    """Turn the failure of a call into what to print."""
    call: object = error  # the errors of blocking calls are calls too, which their types do not say
    if not isinstance(call, grpc.Call):
        return CommandError(f"the call to {server} failed: {error}")
    code, details = call.code(), call.details() or "no reason given"
    answers = _details(call)
    violations = list(_violations(answers))
    if violations or code is grpc.StatusCode.INVALID_ARGUMENT:
        return RefusedInputError(violations or [("", details)])
    # A service that answers says so in an ErrorInfo; without one, the way to it failed.
    if code is grpc.StatusCode.UNAVAILABLE and not any(
        answer.Is(error_details_pb2.ErrorInfo.DESCRIPTOR) for answer in answers
    ):
        return CallError(_unreachable(details, server), code)
    return CallError(_FORMS.get(code, "{details}").format(details=details, server=server), code)


def _unreachable(details: str, server: str) -> str:
    """Say why no connection came about, or that one broke; gRPC tells it in the text alone."""
    text = details.lower()
    causes = _CAUSES if _NEVER_STOOD in text else {**_BROKE, **_CAUSES}
    told = next((told for signs, told in causes.items() if any(sign in text for sign in signs)), None)
    return (told or "{server} cannot be reached: {last}").format(server=server, last=_last(details))


def _last(details: str) -> str:
    return details.rpartition("last error: ")[2] or "no reason given"


def _violations(answers: Iterable[any_pb2.Any]) -> Iterator[tuple[str, str]]:
    for answer in answers:
        bad_request = error_details_pb2.BadRequest()
        if answer.Unpack(bad_request):
            for violation in bad_request.field_violations:
                yield violation.field, violation.description


def _details(error: grpc.Call) -> Sequence[any_pb2.Any]:
    try:
        status = rpc_status.from_call(error)
    except ValueError:  # status and details disagree: nothing to read there
        return ()
    return () if status is None else status.details
