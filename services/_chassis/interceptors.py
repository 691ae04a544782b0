"""The one interceptor under every call: request id, error boundary, who calls, access decision, one log line.

The access check comes before the request is even parsed. Handlers are async functions, or async generators where they answer
with a stream; a handler that takes a stream iterates over its requests and does not call `context.read`.
"""

import inspect
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc
import grpc.aio
import structlog

from services._chassis.admission import Metadata, Origin, authorise, identify
from services._chassis.audit import Act
from services._chassis.call_reason import given_reasons, read_reason
from services._chassis.caller import CallContext, Caller, CallerKind, set_call
from services._chassis.client import MESSAGE_LIMIT
from services._chassis.clock import Clock
from services._chassis.errors import (
    DeniedError,
    InvalidError,
    LimitError,
    Problem,
    ServiceError,
    UnauthenticatedError,
)
from services._chassis.logging import get_logger
from services._chassis.refusals import Refused
from services._chassis.rules import HEALTH, REFLECTION_PREFIX, MethodRule
from services._chassis.sources import FORWARDED_FOR, Network, origin_of, source_of
from services._chassis.status import code_of, name_of, status_of, unknown_method
from services._chassis.throttle import Throttle, too_many_failures

log = get_logger("rpc")
REQUEST_ID = "x-request-id"
ID_BYTES = 16
"""Of a request whose caller gave it no id."""

_SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
MaybeHandler: TypeAlias = "grpc.RpcMethodHandler[Any, Any] | None"


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorManners:
    """Hold what all calls at one door share."""

    trust_domain: str
    clock: Clock
    new_decision_id: Callable[[], str]
    throttle: Throttle
    trusted_proxies: tuple[Network, ...] = ()


class ChassisInterceptor(grpc.aio.ServerInterceptor):
    """Guard one door by the rules of the proto services behind it."""

    def __init__(self, rules: Mapping[str, MethodRule], door: "DoorManners", *, reflection: bool) -> None:
        self._rules = rules
        self._door = door
        self._reflection = reflection
        self._guarded: dict[str, Handler] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[MaybeHandler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> MaybeHandler:
        """Put the guard around the handler; a method without a rule answers only where it is exempt by name."""
        path = handler_call_details.method
        if path in self._guarded:
            return self._guarded[path]
        handler = await continuation(handler_call_details)
        if handler is None:
            return _UNKNOWN  # never remembered: callers may think of any number of paths
        rule = self._rules.get(path)
        if rule is None and self._exempt(path):
            return handler
        self._guarded[path] = _guard(_Method(path, rule, handler, self._door))
        return self._guarded[path]

    def _exempt(self, path: str) -> bool:
        service = path.strip("/").partition("/")[0]
        return service == HEALTH or (self._reflection and service.startswith(REFLECTION_PREFIX))


@dataclass(frozen=True, slots=True)
class _Method:
    """Hold what all calls of one method share."""

    path: str
    rule: MethodRule | None
    handler: Handler
    door: DoorManners

    def read(self, incoming: Any) -> Any:
        """Parse what came in: a message, or each message of a stream as it arrives."""
        return self._parsed_stream(incoming) if self.handler.request_streaming else self._parsed(incoming)

    async def _parsed_stream(self, incoming: AsyncIterator[bytes]) -> AsyncIterator[Any]:
        async for message in incoming:
            yield self._parsed(message)

    def _parsed(self, message: bytes) -> Any:
        if len(message) > MESSAGE_LIMIT:
            raise _too_large(len(message))
        parse = self.handler.request_deserializer
        try:
            return parse(message) if parse else message
        except Exception as error:
            problem = Problem("request", "is not a message of this method; generate the client from the same contracts")
            raise InvalidError([problem], reason="MESSAGE_MALFORMED") from error


def _too_large(size: int) -> LimitError:
    message = f"the message has {size} bytes and may have {MESSAGE_LIMIT} (4 MiB); send less at once, in several calls"
    return LimitError(message, reason="MESSAGE_TOO_LARGE")


class _Call:
    """Keep what one call is known by, from its first byte to its log line."""

    def __init__(self, method: _Method, context: Any) -> None:
        self._method = method
        self._context = context
        # Asked for now: a stream whose message could not be sent ends after gRPC has freed the call, and to ask it then
        # takes the process down.
        metadata = context.invocation_metadata()
        self._metadata, self._reasons = _by_key(metadata), given_reasons(metadata)
        forwarded = self._metadata.get(FORWARDED_FOR, ())
        self._source = source_of(str(context.peer()), forwarded, method.door.trusted_proxies)
        self._request_id = _request_id(self._metadata)
        self._decision_id = method.door.new_decision_id()
        self._caller: Caller | None = None
        self._since = method.door.clock.monotonic()

    def begin(self, incoming: Any) -> Any:
        """Check the caller, make the call current, and only then read the request."""
        structlog.contextvars.bind_contextvars(request_id=self._request_id)
        self._context.set_trailing_metadata(((REQUEST_ID, self._request_id),))
        rule = self._method.rule
        if rule is None:
            raise DeniedError("nobody may call this method", reason="NO_ACCESS_RULE")
        door = self._method.door
        origin = Origin(self._source, limited=self._limited)
        caller = identify(rule, self._metadata, self._context, trust_domain=door.trust_domain, origin=origin)
        self._caller = caller
        permit = authorise(rule, caller)
        reason = read_reason(self._reasons) if caller.kind is CallerKind.ADMINISTRATOR else ""
        set_call(CallContext(caller, permit, self._request_id, self._decision_id, reason))
        return self._method.read(incoming)

    def _limited(self) -> bool:
        return self._method.door.throttle.exhausted(origin_of(self._source))

    async def end(self, error: BaseException | None) -> None:
        """Write the log line and answer the error; a cancellation passes through."""
        error = self._told_of(error)
        code = "OK" if error is None else name_of(code_of(error)) if isinstance(error, Exception) else "CANCELLED"
        self._log(code, error)
        if error is None:
            return
        if not isinstance(error, Exception) or isinstance(error, grpc.aio.AbortError):
            raise error
        await self._context.abort_with_status(status_of(error, self._request_id, self._decision_id))

    def _told_of(self, error: BaseException | None) -> BaseException | None:
        """Note a refusal; return what the caller is told of it."""
        rule = self._method.rule
        if rule is None or not isinstance(error, DeniedError | UnauthenticatedError):
            return error
        known = self._caller is not None and self._caller.kind is not CallerKind.ANONYMOUS
        if known and isinstance(error, DeniedError):
            rule.refusals.denied(self._refused(error, self._source))
            return error
        origin = origin_of(self._source)
        rule.refusals.failed(origin, self._refused(error, origin))
        wait = self._method.door.throttle.charge(origin)
        return error if wait is None else too_many_failures(wait)

    def _refused(self, error: ServiceError, source: str) -> Refused:
        return Refused(
            act=Act(
                actor=self._caller.name if self._caller else CallerKind.ANONYMOUS.value,
                source=source,
                request_id=self._request_id,
                decision_id=self._decision_id,
            ),
            method=self._method.path,
            reason=error.reason,
            message=error.message,
            at=self._method.door.clock.now(),
        )

    def _log(self, code: str, error: BaseException | None) -> None:
        log.info(
            "rpc_completed",
            method=self._method.path,
            code=code,
            reason=error.reason if isinstance(error, ServiceError) else "",
            caller=self._caller.name if self._caller else "unknown",
            source=self._source,
            decision_id=self._decision_id,
            duration_ms=round((self._method.door.clock.monotonic() - self._since) * 1000, 2),
        )
        if code == "INTERNAL":
            log.error("rpc_failed", method=self._method.path, exc_info=error)


def _guard(method: _Method) -> Handler:
    handler = method.handler
    make: Callable[..., Handler]
    if handler.request_streaming:
        own = handler.stream_stream if handler.response_streaming else handler.stream_unary
        make = (
            grpc.stream_stream_rpc_method_handler
            if handler.response_streaming
            else grpc.stream_unary_rpc_method_handler
        )
    else:
        own = handler.unary_stream if handler.response_streaming else handler.unary_unary
        make = (
            grpc.unary_stream_rpc_method_handler if handler.response_streaming else grpc.unary_unary_rpc_method_handler
        )
    answer = _stream_of_answers(method, own) if inspect.isasyncgenfunction(own) else _one_answer(method, own)
    # No deserializer: a request is read only once its caller is admitted.
    return make(answer, request_deserializer=None, response_serializer=handler.response_serializer)


def _one_answer(method: _Method, own: Any) -> Any:
    async def answer(incoming: Any, context: Any) -> Any:
        call = _Call(method, context)
        try:
            response = await own(call.begin(incoming), context)
        except BaseException as error:  # noqa: BLE001 - the boundary: everything becomes an answer
            await call.end(error)
        else:
            await call.end(None)
            return response

    return answer


def _stream_of_answers(method: _Method, own: Any) -> Any:
    async def answer(incoming: Any, context: Any) -> AsyncIterator[Any]:
        call = _Call(method, context)
        try:
            async for response in own(call.begin(incoming), context):
                yield response
        except BaseException as error:  # noqa: BLE001 - the boundary: everything becomes an answer
            await call.end(error)
        else:
            await call.end(None)

    return answer


async def _answer_unknown(_incoming: Any, context: Any) -> None:
    """Say that this door has no such method; gRPC's own answer carries no details."""
    request_id = _request_id(_by_key(context.invocation_metadata()))
    context.set_trailing_metadata(((REQUEST_ID, request_id),))
    await context.abort_with_status(unknown_method(request_id))


_UNKNOWN: Handler = grpc.stream_stream_rpc_method_handler(_answer_unknown)


def _by_key(metadata: Any) -> Metadata:
    values: dict[str, tuple[str, ...]] = {}
    for key, value in metadata or ():
        if isinstance(value, str):
            values[key] = (*values.get(key, ()), value)
    return values


def _request_id(metadata: Metadata) -> str:
    given = metadata.get(REQUEST_ID, ("",))[0]
    return given if _SANE_ID.fullmatch(given) else secrets.token_hex(ID_BYTES)
