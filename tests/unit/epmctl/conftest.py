"""A server and a console for the commands that talk to one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders.console import Console
from tests.fakes.server import FakeServer, serving


@pytest.fixture
def server() -> Iterator[FakeServer]:
    """Run a fake server."""
    with serving() as fake:
        yield fake


@pytest.fixture
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Console:
    """Give a console that knows of no server."""
    return Console(tmp_path, monkeypatch, capsys)


@pytest.fixture
def console(stranger: Console, server: FakeServer) -> Console:
    """Give a console of somebody who is logged in."""
    stranger.knows(server)
    return stranger
