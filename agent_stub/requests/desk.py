"""Bring requests of the device's users to the server, and say plainly where that fails: nothing is queued."""

from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import accumulate

import grpc.aio
import structlog

from agent_stub.events.records import bound_publisher, printable
from agent_stub.links import SessionError
from agent_stub.model import Submission
from agent_stub.requests.book import RequestBook
from agent_stub.requests.calls import RequestServer
from agent_stub.requests.model import Request
from agent_stub.requests.reading import read_request
from agent_stub.requests.words import readable
from elevation.codec.events import encode_file
from elevation.codec.rules import encode_platform
from elevation.model import Attempt, Decision
from epm.policy.v1 import requests_pb2

log = structlog.get_logger()

CERTIFICATES_LIMIT = 16
CERTIFICATES_BYTES_LIMIT = 64 * 1024
_SILENT = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED})


class CancelError(Exception):
    """A request was not cancelled; the message says why."""


class RequestDesk:
    """Where users' requests leave the device while they wait."""

    def __init__(self, server: RequestServer, book: RequestBook, now: Callable[[], datetime]) -> None:
        self._server = server
        self._book = book
        self._now = now

    async def submit(self, attempt_id: str, attempt: Attempt, decision: Decision, justification: str) -> Submission:
        """Ask the support about an attempt whose event is on the disk."""
        if any(not _is_unicode(argument) for argument in attempt.arguments):
            return Submission("the support was not asked: an argument is no Unicode, so no approval could name it")
        try:
            message = _message(attempt_id, attempt, decision, justification)
            response = await self._server.submit(message)
        except (grpc.aio.AioRpcError, SessionError) as error:
            log.warning("request_not_submitted", attempt_id=attempt_id, reason=_code(error))
            return Submission(_not_asked(error))
        request = read_request(response.request)
        self._book.keep(request, self._now())
        log.info("request_submitted", attempt_id=attempt_id, request_id=request.id)
        return Submission(_asked(request), request.id)

    async def cancel(self, request: Request) -> Request:
        """Take a request back; raise CancelError."""
        message = requests_pb2.CancelElevationRequestRequest(id=request.id, user=request.user)
        try:
            response = await self._server.cancel(message)
        except (grpc.aio.AioRpcError, SessionError) as error:
            if isinstance(error, SessionError) or error.code() in _SILENT:
                raise CancelError("the server does not answer; look at `epm-agent requests` and try again") from error
            raise CancelError(error.details() or "the server gave no reason") from error
        cancelled = read_request(response.request)
        self._book.keep(cancelled, self._now())
        return cancelled


def _message(
    attempt_id: str, attempt: Attempt, decision: Decision, justification: str
) -> requests_pb2.SubmitElevationRequestRequest:
    file = encode_file(printable(attempt).file)
    bound_publisher(file)
    signers = attempt.file.signers[:1]
    chain = [certificate.der for signer in signers for certificate in (signer.leaf, *signer.chain)]
    return requests_pb2.SubmitElevationRequestRequest(
        attempt_id=attempt_id,
        user=attempt.user.name,
        justification=justification,
        platform=encode_platform(attempt.platform),
        file=file,
        certificates=_accepted(chain),
        arguments=attempt.arguments,
        policy=decision.policy or "",
        rule=decision.rule or "",
    )


def _accepted(chain: Sequence[bytes]) -> Sequence[bytes]:
    """Give as much of a chain as the server takes, from the signing certificate on."""
    sizes = accumulate(map(len, chain[:CERTIFICATES_LIMIT]))
    return chain[: sum(size <= CERTIFICATES_BYTES_LIMIT for size in sizes)]


def _asked(request: Request) -> str:
    return (
        f"the support is asked: request {request.id}, to be decided until {readable(request.review_deadline)}; "
        "`epm-agent requests` shows what becomes of it"
    )


def _code(error: grpc.aio.AioRpcError | SessionError) -> str:
    return str(error) if isinstance(error, SessionError) else error.code().name


def _not_asked(error: grpc.aio.AioRpcError | SessionError) -> str:
    if isinstance(error, SessionError) or error.code() in _SILENT:
        return (
            "the support was not asked: the server does not answer, and nothing is kept to be sent later; run the command "
            "again when the device is connected"
        )
    if error.code() is grpc.StatusCode.UNIMPLEMENTED:
        return "the support was not asked: the server of this installation takes no requests"
    return f"the support was not asked: {error.details() or 'the server gave no reason'}"


def _is_unicode(text: str) -> bool:
    return not any(0xD800 <= ord(character) <= 0xDFFF for character in text)  # noqa: PLR2004 - the surrogates
