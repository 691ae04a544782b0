"""The other side of `programs`: a process that has imported what our programs are made of, and forks them on demand.

It starts no thread, opens no connection and calls nothing of ours: whatever a program does, it does itself after the fork.
"""

import atexit
import gc
import importlib
import io
import json
import os
import pkgutil
import signal
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import CodeType
from typing import Any

ROOT = Path(__file__).parents[2]
LONGEST_ORDER = 1 << 16
"""Bytes; what is longer does not fit every system's sockets as one message."""

STREAMS, STDERR = 3, 2
_ROOMS = ("agent_stub", "elevation", "epmctl", "fleet", "services")
_SINGLE = ("grpc.aio", "tests.builders.reporters", "tests.faults.hooks")
_LEFT_OUT = ("migrations", "parquet")
"""What does something as soon as it is imported: the database is asked, a thread is started."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a program is to be: `code` and its arguments as after `python -c`."""

    code: str
    arguments: Sequence[str]
    environ: dict[str, str]
    folder: str

    def packed(self) -> bytes:
        """Return what `unpacked` reads."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def unpacked(cls, content: bytes) -> "Order":
        """Return what was packed."""
        return cls(**json.loads(content))


class Ending:
    """Around a program: lets it end as any does, without taking thousands of modules apart that it never used."""

    def __init__(self) -> None:
        self._code: int | None = None
        atexit.register(self._end)  # the first to be registered is the last to be called

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Note how the program ended; one that was interrupted ends by the signal, in its own way."""
        if isinstance(error, SystemExit):
            self._code = error.code if isinstance(error.code, int) else int(error.code is not None)
        elif not isinstance(error, KeyboardInterrupt):
            self._code = int(error is not None)

    def _end(self) -> None:
        if self._code is not None:
            with suppress(OSError, ValueError):
                sys.stdout.flush()
            with suppress(OSError, ValueError):
                sys.stderr.flush()
            os._exit(self._code & 0xFF)


def next_program(door: int) -> CodeType:
    """Return, in a process forked for it, the code of each program that is ordered over the socket of this number.

    An order is answered by the id of its process, an id by how that process ended, which is waited for. The zygote itself ends
    when the other end of the socket is gone.
    """
    _import_everything()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # programs are ended by those who started them
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=door) as orders:
        while True:
            content, streams, _, _ = socket.recv_fds(orders, LONGEST_ORDER, STREAMS)
            if not content:
                os._exit(0)
            if content.isdigit():
                _, answer = os.waitpid(int(content), 0)
            elif not (answer := os.fork()):
                break
            for stream in streams:
                os.close(stream)
            orders.send(str(answer).encode())
    return _become(Order.unpacked(content), streams)


def _import_everything() -> None:
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    # As the programs do that write logs: structlog would show the values of variables by it.
    sys.modules["rich"] = None  # type: ignore[assignment]
    importlib.import_module("structlog")
    del sys.modules["rich"]
    for name in (*_SINGLE, *(name for room in _ROOMS for name in _modules(room))):
        importlib.import_module(name)
    threads = len(list(Path("/proc/self/task").iterdir()))
    assert threads == 1, f"who forks has one thread, not {threads}"


def _modules(package: str) -> Iterator[str]:
    yield package
    for found in pkgutil.iter_modules(importlib.import_module(package).__path__):
        if found.name in _LEFT_OUT:
            continue
        name = f"{package}.{found.name}"
        yield from _modules(name) if found.ispkg else (name,)


def _become(order: Order, streams: Sequence[int]) -> CodeType:
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(order.folder)
    os.environ.clear()
    os.environ.update(order.environ)
    time.tzset()
    sys.argv = ["-c", *order.arguments]
    _take_streams()
    return compile(order.code, "<string>", "exec")


def _take_streams() -> None:
    """Make the standard streams anew: how one is buffered depends on what is behind it."""
    sys.stdin = open(0, encoding=sys.stdin.encoding, errors=sys.stdin.errors, closefd=False)  # noqa: SIM115 - it stays open
    sys.stdout, sys.stderr = _writing(1, sys.stdout), _writing(2, sys.stderr)
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr  # type: ignore[misc]


def _writing(number: int, like: Any) -> io.TextIOWrapper:
    unbuffered = like.write_through
    return io.TextIOWrapper(
        open(number, "wb", 0 if unbuffered else -1, closefd=False),
        encoding=like.encoding,
        errors=like.errors,
        line_buffering=not unbuffered and (number == STDERR or os.isatty(number)),
        write_through=unbuffered,
    )
