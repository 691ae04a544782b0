"""The service's end of the line to its writer: groups go out ahead of the verdicts on those before them.

All of it happens on the event loop: a thread would wait for the interpreter, which streams keep busy, before and after each call.
INVARIANT: a group is answered by the verdict on it, or by the end of the line; and that comes only when the writer is gone.
"""

import asyncio
import socket
from collections import deque
from typing import cast

from services.reporting.store.driver import LostError
from services.reporting.store.wire import Group, Verdict, framed, taken_from

ROOM = 8 * 1024 * 1024
"""Bytes that may lie in the socket, where the system gives so many: a whole group, so that it goes out at once."""


class Line(asyncio.Protocol):
    """Talk to a writer; `ended` is set when nothing more can be said, and `cause` says why. Whoever waits for that breaks it off."""

    def __init__(self, longest_group: float) -> None:
        self.ended = asyncio.Event()
        self.cause = "the writer ended"
        self.judges = False
        """Whether there was a verdict."""
        self._longest_group = longest_group
        self._transport: asyncio.Transport | None = None
        self._asked: deque[asyncio.Future[Verdict]] = deque()
        self._received = bytearray()
        self._failures = 0
        """How many groups are known to have failed."""
        self._watch: asyncio.TimerHandle | None = None
        self._broken: LostError | None = None

    async def connect(self, connection: socket.socket) -> None:
        """Talk over this socket. Raises OSError."""
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, ROOM)
        await asyncio.get_running_loop().create_unix_connection(lambda: self, sock=connection)

    def say(self, message: bytes) -> None:
        """Send what is not answered."""
        if self._transport is not None:
            self._transport.writelines(framed(message))

    def ask(self, group: bytes) -> "asyncio.Future[Verdict]":
        """Send packed batches and return the promise of the verdict; LostError where there is none."""
        answer: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        if self._broken is not None:
            answer.set_exception(self._broken)
            return answer
        self._asked.append(answer)
        if self._transport is not None:
            self._transport.writelines(framed(Group.head(self._failures), group))
        if len(self._asked) == 1:
            self._wait_for_verdict()
        return answer

    async def end(self) -> None:
        """Say that nothing more comes, once everything is answered."""
        if self._asked:
            await asyncio.wait(tuple(self._asked))
        if self._transport is not None:
            self._transport.write_eof()

    def break_off(self) -> None:
        """Close the line, and tell everyone who waits that there is no verdict."""
        self._broken = LostError(self.cause)
        self._close()
        while self._asked:
            answer = self._asked.popleft()
            if not answer.done():
                answer.set_exception(self._broken)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take what is written on."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer by the verdicts that came."""
        self._received += data
        for message in taken_from(self._received):
            verdict, answer = Verdict.unpacked(message), self._asked.popleft()
            self._failures, self.judges = verdict.failures, True
            if not answer.done():
                answer.set_result(verdict)
            self._wait_for_verdict()

    def connection_lost(self, error: Exception | None) -> None:
        """Tell that the line has ended."""
        self._close()
        if error is not None:
            self.cause = str(error)
        self.ended.set()

    def _wait_for_verdict(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
        waiting, loop = bool(self._asked), asyncio.get_running_loop()
        self._watch = loop.call_later(self._longest_group, self._give_up) if waiting else None

    def _give_up(self) -> None:
        self.cause = f"the writer gave no verdict for {self._longest_group} s"
        if self._transport is not None:
            self._transport.abort()

    def _close(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
        if self._transport is not None:
            self._transport.close()
        self._transport = None
