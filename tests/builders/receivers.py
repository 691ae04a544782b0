"""Receivers of notices in processes of their own, and what they were sent."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.builders.doors import authority, server_identity

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Receiver:
    """Know where a process listens, and read what it was sent."""

    process: subprocess.Popen[str]
    port: int
    log: Path
    ca_file: Path

    def received(self) -> list[dict[str, Any]]:
        """Return what was received, in order."""
        lines = self.log.read_text(encoding="utf-8").splitlines() if self.log.exists() else []
        return [json.loads(line) for line in lines]


@contextmanager
def webhook_receiver(folder: Path, *, secure: bool = True) -> Iterator[Receiver]:
    """Run a receiver of webhooks until the block ends."""
    with _running("tests.fakes.webhook_receiver", folder, *([_certificate(folder)] if secure else [])) as receiver:
        yield receiver


@contextmanager
def mail_server(folder: Path, mode: str) -> Iterator[Receiver]:
    """Run a mail server until the block ends."""
    with _running("tests.fakes.mail_server", folder, mode, _certificate(folder)) as receiver:
        yield receiver


@contextmanager
def _running(module: str, folder: Path, *arguments: str) -> Iterator[Receiver]:
    log, ca = folder / f"{module}.jsonl", folder / "ca.pem"
    ca.write_bytes(authority().pem)
    command = [sys.executable, "-m", module, str(log), *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield Receiver(process, int(process.stdout.readline()), log, ca)
        finally:
            process.kill()


def _certificate(folder: Path) -> str:
    path = folder / "receiver.pem"
    path.write_bytes(server_identity().key + server_identity().certificate)
    return str(path)
