"""Store events in a process of its own, so that reading streams and writing never wait for one interpreter.

The writer is started by the first group, and again by the next one after it died; where it dies before it has judged anything,
only after a rest, so that a program that cannot run costs little. INVARIANT: only its verdict tells that a group is durable. Where
none comes, nobody knows; devices send again what was not acknowledged, and it is stored once.
"""

import os
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial

from services._chassis.logging import get_logger
from services.reporting.model.backlog import not_stored
from services.reporting.model.events import Batch, Rejection
from services.reporting.store.drivers import LostError
from services.reporting.store.inorder import InOrder
from services.reporting.store.wire import Opening, Verdict, batches_packed, receive, send

PROGRAM = "services.reporting.store.writer"
PATIENCE = 10.0
"""Seconds that a writer has to end by itself, its last group being stored; containers give a service twenty for everything."""

LONGEST_GROUP = 600
"""Seconds after which a writer that gives no verdict is taken for hung, and killed: on a slow disk a group whose events go one by
one takes minutes."""

LEAST_REST, LONGEST_REST = 1.0, 30.0
"""Seconds before a writer is started again that died before it judged anything; twice as many each time."""

NEEDED = ("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "LD_LIBRARY_PATH")
"""Variables of the environment that a process needs from its start; none of them is a secret."""

log = get_logger("reporting.sink")


class _Writer:
    """A running writer; it waits to be opened. Raises OSError where it cannot be started."""

    def __init__(self, environment: Mapping[str, str], longest_group: int) -> None:
        self._longest_group = longest_group
        self._connection, theirs = socket.socketpair()
        try:
            # The socket's own limits: Python's would look at it once more for each group, and give the interpreter away for that.
            for limit in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
                self._connection.setsockopt(socket.SOL_SOCKET, limit, struct.pack("ll", longest_group, 0))
            self._process = _started(theirs.fileno(), environment)
        except OSError:
            self._connection.close()
            raise
        finally:
            theirs.close()
        log.info("writer_started", pid=self._process.pid)

    def open(self, opening: Opening) -> None:
        """Tell the writer where it writes. Raises OSError where it died."""
        send(self._connection, opening.packed())

    def store(self, group: bytes) -> Verdict:
        """Return the verdict on a group. Raises OSError where the writer died or hangs."""
        try:
            send(self._connection, group)
            answer = receive(self._connection)
        except BlockingIOError as error:
            raise TimeoutError(f"the writer gave no verdict for {self._longest_group} s") from error
        if answer is None:
            raise ConnectionError("the writer ended")
        return Verdict.unpacked(answer)

    def end(self) -> None:
        """Let the writer end, having closed its database."""
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_WR)
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._connection.close()

    def cut_off(self) -> int:
        """Make sure that the writer is gone, and return its exit code."""
        self._process.kill()
        self._connection.close()
        return self._process.wait()


class SinkApart:
    """Store events by a writer; `announce` is told the number of what was stored last."""

    def __init__(
        self,
        opening: Opening,
        announce: Callable[[int], None] = lambda _stored: None,
        *,
        monotonic: Callable[[], float],
        longest_group: int = LONGEST_GROUP,
    ) -> None:
        self._opening = opening
        self._longest_group = longest_group
        self._announce = announce
        self._monotonic = monotonic
        self._writer: _Writer | None = None
        self._judges = False
        """Whether the writer that was started last has judged a group."""
        self._rest = 0.0
        self._rests_until = 0.0
        self._thread = InOrder("reporting-sink")

    async def store(self, batches: Sequence[Batch]) -> Sequence[tuple[Rejection, ...]]:
        """Commit the batches as one and return what was rejected of each.

        Raises UnavailableError where not everything is durable, or the writer died; what is nevertheless is passed over
        when it comes again.
        """
        # Packed here and not in the thread: that would share the interpreter with the streams, and take twice as long.
        group = batches_packed(batches)
        try:
            verdict = await self._thread.do(partial(self._judged, group))
        except LostError as error:
            raise not_stored() from error
        self._announce(verdict.stored)
        return verdict.rejected

    async def close(self) -> None:
        """Wait for the transaction that is running, and for the end of the writer."""
        await self._thread.end(self._end)

    def _judged(self, group: bytes) -> Verdict:
        try:
            verdict = (self._writer or self._start()).store(group)
        except OSError as error:
            self._lose(str(error))
            raise LostError(str(error)) from error
        self._judges = True
        if verdict.failure:
            raise LostError(verdict.failure)
        return verdict

    def _start(self) -> _Writer:
        if self._monotonic() < self._rests_until:
            raise LostError("the writer cannot run, and is not started again yet")
        self._judges = False
        writer = self._writer = _Writer(self._opening.environment, self._longest_group)
        writer.open(self._opening)
        return writer

    def _lose(self, cause: str) -> None:
        """Make sure that the writer is gone, and have it rest where it died in vain."""
        code = self._writer.cut_off() if self._writer is not None else None
        self._writer = None
        self._rest = 0.0 if self._judges else min(max(LEAST_REST, 2 * self._rest), LONGEST_REST)
        self._rests_until = self._monotonic() + self._rest
        log.error("writer_lost", exit_code=code, cause=cause, rest_s=self._rest)

    def _end(self) -> None:
        if self._writer is not None:
            self._writer.end()
            self._writer = None


def _started(descriptor: int, environment: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    """Start a writer that is told everything else on the socket of this number."""
    named = {name: value for name, value in environment.items() if name in NEEDED or name.startswith("PYTHON")}
    return subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-P", "-m", PROGRAM, str(descriptor)],
        env={**named, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        pass_fds=(descriptor,),
    )
