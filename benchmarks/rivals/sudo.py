"""A real sudo_logsrvd on loopback, and the few messages of its protocol that the load needs.

It is the one of the operating system's package `sudo`. It writes each event to a file as JSON; it neither syncs the file nor
acknowledges an event, and has no TLS in Debian's build. So its events are there for whoever reads the file, and gone with the
machine; to compare what is durable, the file is synced for it, once, when all are written. Messages are declared here by the
numbers of its protocol; each goes with its length ahead, four bytes. An event holds the facts that `sudo` 1.9.13 itself sends of
a command that it runs, about 500 bytes, and no others.
"""

import os
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PROGRAM = "sudo_logsrvd"
PATIENCE = 10.0
_FIELD = descriptor_pb2.FieldDescriptorProto
_SHAPES: dict[str, list[tuple[str, int, int, str]]] = {
    "Time": [("seconds", 1, _FIELD.TYPE_INT64, ""), ("nanos", 2, _FIELD.TYPE_INT32, "")],
    "Texts": [("texts", 1, _FIELD.TYPE_STRING, "")],
    "Fact": [
        ("key", 1, _FIELD.TYPE_STRING, ""),
        ("number", 2, _FIELD.TYPE_INT64, ""),
        ("text", 3, _FIELD.TYPE_STRING, ""),
        ("list", 4, _FIELD.TYPE_MESSAGE, "Texts"),
    ],
    "Accept": [("submitted", 1, _FIELD.TYPE_MESSAGE, "Time"), ("facts", 2, _FIELD.TYPE_MESSAGE, "Fact")],
    "Hello": [("client", 1, _FIELD.TYPE_STRING, "")],
    "Said": [("accept", 1, _FIELD.TYPE_MESSAGE, "Accept"), ("hello", 13, _FIELD.TYPE_MESSAGE, "Hello")],
}
_REPEATED = ("facts", "texts")


class SudoMissingError(Exception):
    """Say why there is no sudo_logsrvd to measure."""


class LogServer:
    """A server that runs, and the file that it writes."""

    def __init__(self, address: tuple[str, int], events: Path) -> None:
        self._address = address
        self._events = events

    def streamed(self, events: int, connections: int) -> float:
        """Send events on open connections; return the seconds until all are durable."""
        whole = _hello() + b"".join(map(_event, range(events // connections)))
        return self._measured([whole] * connections, connections, events)

    def connected_anew(self, events: int, at_once: int) -> float:
        """Open a connection for each event, so many at once; return the seconds until all are durable."""
        return self._measured([_hello() + _event(number) for number in range(events)], at_once, events)

    def _measured(self, contents: Sequence[bytes], at_once: int, events: int) -> float:
        before = self._written()
        start = time.perf_counter()
        with ThreadPoolExecutor(at_once) as pool:
            list(pool.map(self._send, contents))
        with self._events.open("rb") as file:
            os.fsync(file.fileno())
        seconds = time.perf_counter() - start
        if (written := self._written() - before) < events:
            raise SudoMissingError(f"it wrote {written} of {events} events")
        return seconds

    def _send(self, content: bytes) -> None:
        with socket.create_connection(self._address, timeout=PATIENCE) as connection:
            connection.sendall(content)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(4096):  # it closes once it has read everything
                pass

    def _written(self) -> int:
        return self._events.read_bytes().count(b'"accept"') if self._events.exists() else 0


@contextmanager
def running(folder: Path) -> Iterator[LogServer]:
    """Run a server with an empty file. Raises SudoMissingError where there is none."""
    program = shutil.which(PROGRAM, path="/usr/sbin:/usr/bin:/usr/local/sbin")
    if program is None:
        raise SudoMissingError(f"{PROGRAM} is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = free.getsockname()
    events, settings = folder / "events.json", folder / "sudo_logsrvd.conf"
    settings.write_text(
        f"[server]\nlisten_address = {address[0]}:{address[1]}\npid_file = {folder}/pid\n"
        f"[iolog]\niolog_dir = {folder}/io\n[eventlog]\nlog_type = logfile\nlog_format = json\n"
        f"[logfile]\npath = {events}\n",
        encoding="utf-8",
    )
    process = subprocess.Popen(
        [program, "-n", "-f", str(settings)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _wait_for(address)
        yield LogServer(address, events)
    finally:
        process.terminate()
        process.wait()


def _wait_for(address: tuple[str, int]) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with suppress(OSError), socket.create_connection(address, timeout=PATIENCE):
            return
    raise SudoMissingError(f"{PROGRAM} does not listen")


@cache
def _hello() -> bytes:
    return _framed(_message("Said")(hello={"client": "benchmark"}))


def _event(number: int) -> bytes:
    user, command = f"user-{number % 307}", f"/opt/tool-{number % 211}/tool-{number % 211}"
    numbers = {"columns": 80, "lines": 24, "runuid": 0}
    texts = {
        "command": command,
        "runcwd": "/",
        "runuser": "root",
        "submitcwd": f"/home/{user}",
        "submithost": "device-1",
        "submituser": user,
        "ttyname": "/dev/pts/0",
    }
    lists = {
        "runargv": [command, "/silent"],
        "runenv": [
            "LANG=C.UTF-8",
            "TERM=xterm",
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "MAIL=/var/mail/root",
            "LOGNAME=root",
            "USER=root",
            "HOME=/root",
            "SHELL=/bin/bash",
            f"SUDO_COMMAND={command} /silent",
            f"SUDO_USER={user}",
            "SUDO_UID=1000",
            "SUDO_GID=1000",
        ],
    }
    facts = [
        *({"key": key, "number": value} for key, value in numbers.items()),
        *({"key": key, "text": value} for key, value in texts.items()),
        *({"key": key, "list": {"texts": value}} for key, value in lists.items()),
    ]
    return _framed(_message("Said")(accept={"submitted": {"seconds": number, "nanos": number}, "facts": facts}))


def _framed(message: Any) -> bytes:
    content: bytes = message.SerializeToString()
    return struct.pack(">I", len(content)) + content


@cache
def _message(name: str) -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="logsrv.proto", package="logsrv", syntax="proto3")
    for message, fields in _SHAPES.items():
        made = file.message_type.add(name=message)
        for field, number, kind, of in fields:
            label = _FIELD.LABEL_REPEATED if field in _REPEATED else _FIELD.LABEL_OPTIONAL
            made.field.add(name=field, number=number, type=kind, label=label, type_name=f".logsrv.{of}" if of else None)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"logsrv.{name}"))
