"""Our programs as processes. Most of what a short one does is to import what it is made of, and the tests start thousands.

So Python programs are forked off a **zygote** (`zygote`), a process beside the tests that has imported everything and done
nothing else. A forked program has the arguments, environment, folder and standard streams that it is given, dies by a signal and
ends with a code, as one that was started. What differs: its parent, the command line that /proc shows, the hash seed, modules
that are there before anybody imports them, and that they are not taken apart at the end. Where that matters programs are
started, as anywhere but on Linux, and everywhere with EPM_TEST_FORKS=0.
"""

import atexit
import functools
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from threading import Lock
from typing import Protocol

from tests.builders.zygote import LONGEST_ORDER, ROOT, Order

_FORKS = sys.platform == "linux" and os.environ.get("EPM_TEST_FORKS") != "0"
_ZYGOTE = """
import sys
sys.path[:0] = [{root!r}]
from tests.builders.zygote import Ending, next_program
with Ending():
    exec(next_program({door}))
"""


class Process(Protocol):
    """A program that runs, or ran."""

    @property
    def pid(self) -> int:
        """Its id."""

    def poll(self) -> int | None:
        """Return how it ended, None as long as it runs: its exit code, or the signal as a negative number."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end and return how it ended. Raises TimeoutExpired."""

    def send_signal(self, sig: int) -> None:
        """Send it a signal if it runs."""

    def terminate(self) -> None:
        """Ask it to end."""

    def kill(self) -> None:
        """End it as a power cut does."""


class _Zygote:
    """The process that forks, seen from here."""

    def __init__(self) -> None:
        self._door, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._lock = Lock()
        with theirs:
            code = _ZYGOTE.format(root=str(ROOT), door=theirs.fileno())
            self._process = subprocess.Popen(
                [sys.executable, "-c", code],
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        atexit.register(self._end)

    def fork(self, order: bytes, streams: Sequence[int]) -> int:
        """Return the id of a new process, which does what is ordered."""
        return self._ask(order, streams)

    def ended(self, pid: int) -> int:
        """Return how a process has ended, and forget it."""
        return os.waitstatus_to_exitcode(self._ask(str(pid).encode()))

    def _ask(self, content: bytes, streams: Sequence[int] = ()) -> int:
        with self._lock:
            socket.send_fds(self._door, [content], streams)
            return int(self._door.recv(32))

    def _end(self) -> None:
        self._door.close()
        self._process.wait()


class Forked:
    """A program that the zygote forked."""

    def __init__(self, command: Sequence[str], zygote: _Zygote, order: bytes, streams: Sequence[int]) -> None:
        self.pid = zygote.fork(order, streams)
        self._command = command
        self._zygote = zygote
        self._descriptor = os.pidfd_open(self.pid)
        self._code: int | None = None

    def poll(self) -> int | None:
        """Return how it ended, None as long as it runs."""
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end and return how it ended."""
        code = self._ended(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(self._command, timeout or 0)
        return code

    def send_signal(self, sig: int) -> None:
        """Send it a signal if it runs."""
        if self.poll() is None:
            os.kill(self.pid, sig)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a power cut does."""
        self.send_signal(signal.SIGKILL)

    def _ended(self, timeout: float | None) -> int | None:
        if self._code is None:
            end = select.poll()
            end.register(self._descriptor, select.POLLIN)
            if end.poll(None if timeout is None else timeout * 1000):
                self._code = self._zygote.ended(self.pid)
                os.close(self._descriptor)
        return self._code


_zygote = functools.cache(_Zygote)


def start(
    command: Sequence[str],
    *,
    environ: Mapping[str, str],
    folder: Path,
    streams: tuple[int, int, int],
    forked: bool = True,
) -> Process:
    """Start a program with descriptors of its input, output and errors; a command of another kind than `python -c` is never forked."""
    if forked and _FORKS and list(command[:2]) == [sys.executable, "-c"] and _python(environ) == _python(os.environ):
        order = Order(command[2], command[3:], dict(environ), str(folder)).packed()
        if len(order) <= LONGEST_ORDER:
            return Forked(command, _zygote(), order, streams)
    stdin, stdout, stderr = streams
    return subprocess.Popen(command, env=environ, cwd=folder, stdin=stdin, stdout=stdout, stderr=stderr)


def run(
    command: Sequence[str],
    text: str,
    patience: float,
    *,
    environ: Mapping[str, str],
    folder: Path,
    forked: bool = True,
) -> tuple[int, str, str]:
    """Run a program to its end with text on its standard input; return its exit code, output and errors."""
    with ExitStack() as stack:
        given, output, errors = [stack.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8")) for _ in range(3)]
        given.write(text)
        given.seek(0)
        streams = (given.fileno(), output.fileno(), errors.fileno())
        process = start(command, environ=environ, folder=folder, streams=streams, forked=forked)
        try:
            code = process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        output.seek(0)
        errors.seek(0)
        return code, output.read(), errors.read()


def _python(environ: Mapping[str, str]) -> Mapping[str, str]:
    """Return what an interpreter reads as it starts, and no more after that."""
    return {name: value for name, value in environ.items() if name.startswith("PYTHON")}
