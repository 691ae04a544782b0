"""Listen on the control socket and serve the programs that users start."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from agent_stub.control.lines import LINE_LIMIT, line
from agent_stub.control.present import present_answer
from agent_stub.control.wire import OwnRequest, StatusRequest, WireError, parse_request, read_line
from agent_stub.files import StateError
from agent_stub.identity import RefusedError
from agent_stub.model import Answer, Origin, Peer, Question
from agent_stub.ports import Identities, OwnRequests, Prompter

log = structlog.get_logger()

REQUEST_SECONDS = 10.0
ANSWER_SECONDS = 300.0
CALLERS_AT_ONCE = 64
CALLERS_OF_A_USER = 16
EVERYBODY, OWNER_ALONE = 0o666, 0o600
SOCKET_PATH_LIMIT = 107
_CREDENTIALS = struct.Struct("3i")

Elevate = Callable[[str, tuple[str, ...], Origin, Prompter], Awaitable[Answer]]


class ControlServer:
    """Serves attempts, requests and status. Callers are who the kernel of the system says; what they send is bounded.

    Without `elevate` the server shows the status alone: that is what the agent's own user reaches where no component is.
    """

    def __init__(
        self,
        elevate: Elevate | None,
        status: Callable[[], dict[str, Any]],
        identities: Identities,
        requests: OwnRequests | None = None,
    ) -> None:
        self._elevate = elevate
        self._requests = requests
        self._status = status
        self._identities = identities
        self._callers: dict[asyncio.Task[None], int] = {}

    @asynccontextmanager
    async def listening(self, path: Path, mode: int = EVERYBODY) -> AsyncIterator[None]:
        """Accept callers at the path while the block runs; raise StateError where that is not possible."""
        prepare(path)
        try:
            server = await asyncio.start_unix_server(self._accept, path, limit=LINE_LIMIT)
            _admit(path, mode)
        except OSError as error:
            raise StateError(
                f"socket {path}: cannot be opened ({error.strerror}); choose another with --socket"
            ) from error
        try:
            yield
        finally:
            server.close()
            for task in self._callers:
                task.cancel()
            await asyncio.gather(*self._callers, return_exceptions=True)
            remove(path)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        uid = _peer(writer).uid
        own = sum(1 for other in self._callers.values() if other == uid)
        if own >= CALLERS_OF_A_USER or len(self._callers) >= CALLERS_AT_ONCE:
            writer.write(line({"error": "the agent serves too many callers; try again"}))
            writer.close()
            return
        task = asyncio.create_task(self._serve(reader, writer))
        self._callers[task] = uid
        task.add_done_callback(self._callers.pop)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._talk(reader, writer)
        finally:
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reply = _Reply({})
        try:
            reply = await self._answer(reader, writer)
            answer: dict[str, Any] = {"answer": reply.content}
        except (WireError, RefusedError) as error:
            answer = {"error": str(error)}
        except TimeoutError:
            answer = {"error": "no request came in time"}
        except Exception:  # one caller must not take the agent down; the log has the traceback
            log.exception("caller_failed")
            answer = {"error": "internal error of the agent; its log says more"}
        with suppress(OSError):
            writer.write(line(answer))
            if reply.shows and self._requests is not None and not writer.transport.is_closing():
                self._requests.shown(reply.user, reply.shows)
            async with asyncio.timeout(REQUEST_SECONDS):
                await writer.drain()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> "_Reply":
        async with asyncio.timeout(REQUEST_SECONDS):
            fields = await read_line(reader)
        request = parse_request(fields or {})
        if isinstance(request, StatusRequest):
            return _Reply(self._status())
        if self._elevate is None:
            raise RefusedError("this socket shows the status alone")
        origin = self._identities.origin(_peer(writer), request.stated)
        user = origin.subject.name
        if isinstance(request, OwnRequest):
            found = await self._own(request, user, reader)
            return _Reply({"requests": found}, user, found)
        prompter = _SocketPrompter(reader, writer)
        answer = present_answer(await self._elevate(request.file, request.arguments, origin, prompter))
        news = [] if self._requests is None else self._requests.news(user)
        return _Reply(answer | {"news": news}, user, news)

    async def _own(self, request: OwnRequest, user: str, reader: asyncio.StreamReader) -> list[dict[str, object]]:
        if self._requests is None:
            raise RefusedError("this socket knows no requests")
        match request.do:
            case "requests":
                return self._requests.listed(user)
            case "cancel":
                return await self._requests.cancel(user, request.id)
            case _:
                return await _while_there(reader, self._requests.awaited(user, request.id))


@dataclass(frozen=True, slots=True)
class _Reply:
    """What a caller is answered, and which of the user's requests that shows."""

    content: dict[str, Any]
    user: str = ""
    shows: Sequence[Mapping[str, object]] = ()


async def _while_there(
    reader: asyncio.StreamReader, found: Coroutine[object, object, list[dict[str, object]]]
) -> list[dict[str, object]]:
    """Give what is found, unless the caller leaves first: then nobody was shown it."""
    task, gone = asyncio.create_task(found), asyncio.create_task(reader.read(1))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if gone.done():
            raise WireError("the caller left, or said more than it was asked")
        return task.result()
    finally:
        for one in (task, gone):
            one.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


class _SocketPrompter:
    """Ask the user through the program that called. A caller that is gone or wrong has not answered."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def confirm(self, question: Question) -> bool | None:
        """Ask whether the elevation is wanted."""
        found = await self._ask({"ask": "confirm", "file": question.file, "reason": question.reason})
        return found if isinstance(found, bool) else None

    async def approval(self, question: Question) -> bool | None:
        """Ask whether the support is to be asked."""
        found = await self._ask({"ask": "approval", "file": question.file, "reason": question.reason})
        return found if isinstance(found, bool) else None

    async def justification(self, problem: str) -> str | None:
        """Ask for a reason."""
        found = await self._ask({"ask": "justification", "problem": problem})
        return found if isinstance(found, str) else None

    async def _ask(self, question: dict[str, Any]) -> object:
        try:
            self._writer.write(line(question))
            await self._writer.drain()
            async with asyncio.timeout(ANSWER_SECONDS):
                fields = await read_line(self._reader)
        except (OSError, TimeoutError, WireError):
            return None
        return fields["answer"] if fields is not None and set(fields) == {"answer"} else None


def prepare(path: Path) -> None:
    """Make room for a socket; raise StateError for a place where none can be."""
    if len(str(path).encode()) > SOCKET_PATH_LIMIT:
        raise StateError(
            f"socket {path}: the path is longer than {SOCKET_PATH_LIMIT} bytes; choose another with --socket"
        )
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        if path.is_socket() and not _answers(path):
            path.unlink()  # left over from a crash
        taken = path.exists()
    except OSError as error:
        raise StateError(f"socket {path}: cannot be opened ({error.strerror}); choose another with --socket") from error
    if taken:
        raise StateError(f"socket {path}: another agent or file is there; choose another with --socket")


def _admit(path: Path, mode: int) -> None:
    path.chmod(mode)


def remove(path: Path) -> None:
    """Remove a socket that nobody listens at any more; raise StateError where it stays."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise StateError(f"socket {path}: cannot be removed ({error.strerror}); remove it") from error


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(REQUEST_SECONDS)
        return connection.connect_ex(str(path)) == 0


def _peer(writer: asyncio.StreamWriter) -> Peer:
    connection = writer.get_extra_info("socket")
    found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return Peer(*_CREDENTIALS.unpack(found))
