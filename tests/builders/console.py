"""Commands of `epm` in this process, as somebody who is logged in or not."""

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from epmctl.main import run
from tests.builders.doors import authority
from tests.fakes.server import TOKEN, FakeServer


@dataclass(frozen=True)
class Outcome:
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Give what it printed, read as JSON."""
        return json.loads(self.out)


class Console:
    """Runs commands in an environment of its own."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.monkeypatch = monkeypatch
        self._capsys = capsys
        for name in ("EPM_SERVER", "EPM_CA", "EPM_TOKEN", "EPM_TOKEN_FILE"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("EPM_CONFIG_DIR", str(folder / "config"))
        self.ca = folder / "ca.crt"
        self.ca.write_bytes(authority().pem)

    @property
    def profile(self) -> Path:
        """Give the file that a login leaves behind."""
        return self.folder / "config" / "profile.json"

    def knows(self, server: FakeServer, *, token: str = TOKEN) -> None:
        """Say by the environment which server there is and who to be there."""
        self.monkeypatch.setenv("EPM_SERVER", server.address)
        self.monkeypatch.setenv("EPM_CA", str(self.ca))
        self.monkeypatch.setenv("EPM_TOKEN", token)

    def run(self, *arguments: str | Path, stdin: str = "") -> Outcome:
        """Run a command."""
        with self._standard_input(stdin):
            code = run([str(argument) for argument in arguments])
        return Outcome(code, *self._capsys.readouterr())

    def printed(self) -> str:
        """Give what the command that runs has printed so far."""
        return self._capsys.readouterr().out

    @contextmanager
    def _standard_input(self, text: str) -> Iterator[None]:
        with self.monkeypatch.context() as patched:
            patched.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode()), encoding="utf-8"))
            yield
