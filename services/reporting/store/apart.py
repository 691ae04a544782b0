"""Store events in a process of its own, so that reading streams and writing never wait for one interpreter.

The writer is started by the first group, and again by the next one after it died; where it dies before it has judged anything,
only after a rest, so that a program that cannot run costs little; then it is tried again whether or not a group comes.

INVARIANT: only its verdict tells that a group is durable. Where none comes, nobody knows; devices send again what was not
acknowledged, and it is stored once.

INVARIANT: where a group is not stored, none is that was handed over before whoever hands over could know of that. Of one writer it
is the writer that sees to it; and a group goes to the writer that ran when it was handed over, or to none.
"""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress

from services._chassis.errors import UnavailableError
from services._chassis.logging import get_logger
from services._chassis.workers import Worker
from services.reporting.model.backlog import not_stored
from services.reporting.model.events import Batch, Rejection
from services.reporting.store.driver import LostError
from services.reporting.store.line import Line
from services.reporting.store.wire import Opening, Verdict, batches_packed

PROGRAM = "services.reporting.store.writer"
PATIENCE = 5.0
"""Seconds that a writer has to store its last groups and to end by itself; then it is cut off, and devices send those again. Containers
give a service twenty for everything, and running calls may take half of these."""

LONGEST_GROUP = 600
"""Seconds after which a writer that gives no verdict is taken for hung, and killed: on a slow disk a group whose events go one by
one takes minutes."""

LEAST_REST, LONGEST_REST = 1.0, 30.0
"""Seconds before a writer is started again that died before it judged anything; twice as many each time."""

NEEDED = ("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "LD_LIBRARY_PATH")
"""Variables of the environment that a process needs from its start; none of them is a secret."""

log = get_logger("reporting.sink")


class _Writer:
    """A running writer: its process, and the line to it."""

    def __init__(self, process: "subprocess.Popen[bytes]", line: Line) -> None:
        self._process = process
        self.line = line

    async def end(self, patience: float) -> None:
        """Let the writer end, having stored what it was asked to and closed its database; cut it off where that takes longer."""
        try:
            async with asyncio.timeout(patience):
                await self.line.end()
                await asyncio.to_thread(self._process.wait)
        except TimeoutError:
            await self.cut_off()

    async def cut_off(self) -> int:
        """Make sure that the writer is gone, and return its exit code."""
        self._process.kill()
        return await asyncio.to_thread(self._process.wait)


class SinkApart:
    """Store events by a writer; `announce` is told the number of what was stored last."""

    def __init__(
        self,
        opening: Opening,
        announce: Callable[[int], None] = lambda _stored: None,
        *,
        monotonic: Callable[[], float],
        longest_group: int = LONGEST_GROUP,
        patience: float = PATIENCE,
    ) -> None:
        self._opening = opening
        self._longest_group = longest_group
        self._patience = patience
        self._announce = announce
        self._monotonic = monotonic
        self._writer: asyncio.Task[_Writer] | None = None
        self._watch: asyncio.Task[None] | None = None
        """What sees to the writer that was started last when it is gone."""
        self._rest = 0.0
        """Seconds; 0 where nothing is known to keep a writer from running."""
        self._rests_until = 0.0
        self._turn = asyncio.Lock()
        self._resting = asyncio.Event()
        self._closing = False

    async def store(self, batches: Sequence[Batch]) -> Sequence[tuple[Rejection, ...]]:
        """Commit the batches as one and return what was rejected of each.

        Raises UnavailableError where not everything is durable, or the writer died; what is nevertheless is passed over
        when it comes again.
        """
        group = batches_packed(batches)
        try:
            verdict = await self._judged(group)
        except LostError as error:
            raise not_stored() from error
        self._announce(verdict.stored)
        return verdict.rejected

    def able(self) -> bool:
        """Tell whether a writer can run, as far as is known."""
        return not self._rest

    def worker(self) -> Worker:
        """Return the worker that starts a writer again that could not run."""
        return Worker("try_writer", self.try_again)

    async def try_again(self, pause: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """For ever, have a writer that could not run show whether it can after its rest: no group may come meanwhile."""
        while True:
            await self._resting.wait()
            self._resting.clear()
            while not self.able():
                await pause(self._rest)
                with suppress(UnavailableError):
                    await self.store([])

    async def close(self) -> None:
        """Wait for what was handed over, and for the end of the writer, but not for one that hangs."""
        self._closing = True
        if (starting := self._writer) is not None:
            await asyncio.wait([starting])
            if starting.exception() is None:
                await starting.result().end(self._patience)
        if self._watch is not None:
            await self._watch

    async def _judged(self, group: bytes) -> Verdict:
        # Groups are sent in the order in which they were handed over, those too that wait for a writer.
        async with self._turn:
            writer = await asyncio.shield(self._running())
            answer = writer.line.ask(group)
        verdict = await asyncio.shield(answer)
        self._rest = 0.0
        if verdict.failure:
            raise LostError(verdict.failure)
        return verdict

    def _running(self) -> "asyncio.Task[_Writer]":
        if self._writer is None:
            if self._monotonic() < self._rests_until:
                raise LostError("the writer cannot run, and is not started again yet")
            self._writer = asyncio.create_task(self._started())
        return self._writer

    async def _started(self) -> _Writer:
        """Start a writer and tell it where it writes. Raises LostError."""
        line = Line(self._longest_group)
        try:
            ours, theirs = socket.socketpair()
            with theirs:
                await line.connect(ours)
                process = _process(theirs.fileno(), self._opening.environment)
        except OSError as error:
            line.break_off()
            self._note_loss(None, str(error), judges=False)
            raise LostError(str(error)) from error
        log.info("writer_started", pid=process.pid)
        writer = _Writer(process, line)
        self._watch = asyncio.create_task(self._ended(writer))
        line.say(self._opening.packed())
        return writer

    async def _ended(self, writer: _Writer) -> None:
        """Wait for the end of a writer; make sure that it is gone before anybody is told, and another one may be started."""
        await writer.line.ended.wait()
        code = await writer.cut_off()
        if not self._closing or code:
            self._note_loss(code, writer.line.cause, judges=writer.line.judges)
        writer.line.break_off()

    def _note_loss(self, code: int | None, cause: str, *, judges: bool) -> None:
        """Have the next writer wait where this one died in vain."""
        self._writer = None
        self._rest = 0.0 if judges else min(max(LEAST_REST, 2 * self._rest), LONGEST_REST)
        self._rests_until = self._monotonic() + self._rest
        if self._rest:
            self._resting.set()
        log.error("writer_lost", exit_code=code, cause=cause, rest_s=self._rest)


def _process(descriptor: int, environment: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    """Start a writer that is told everything else on the socket of this number."""
    named = {name: value for name, value in environment.items() if name in NEEDED or name.startswith("PYTHON")}
    return subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-P", "-m", PROGRAM, str(descriptor)],
        env={**named, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        pass_fds=(descriptor,),
    )
