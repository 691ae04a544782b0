"""The command `epm-agent` as a process, as its users start it."""

import asyncio
import os
import pty
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.builders.programs import Process, run, start

PATIENCE = 30
ENTRY = ("-c", "from agent_stub.main import main; main()")


@dataclass(frozen=True)
class Done:
    code: int
    output: str
    errors: str


def environment(**more: str) -> Mapping[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("EPM_")}
    return kept | more


async def started(*arguments: str | Path, **more: str) -> asyncio.subprocess.Process:
    """Start the command as its users do, to talk with it while it runs."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *ENTRY,
        *map(str, arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(**more),
    )


async def agent(*arguments: str | Path, typed: str = "", **more: str) -> Done:
    """Run the command to its end, with `typed` on standard input, which is no terminal."""
    command = (sys.executable, *ENTRY, *map(str, arguments))
    told = await asyncio.to_thread(run, command, typed, PATIENCE, environ=environment(**more), folder=Path.cwd())
    return Done(*told)


async def at_a_terminal(*arguments: str | Path, typed: str) -> Done:
    """Run the command with a person at a pseudo terminal; the errors are all that the terminal shows."""
    person, terminal = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *ENTRY,
        *map(str, arguments),
        stdin=terminal,
        stdout=asyncio.subprocess.PIPE,
        stderr=terminal,
        env=environment(),
    )
    os.close(terminal)
    os.write(person, typed.encode())
    output, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
    shown = os.read(person, 4096).decode()
    os.close(person)
    return Done(process.returncode or 0, output.decode(), shown)


class Running:
    """An agent that runs in the foreground of nobody's terminal."""

    def __init__(self, process: Process, log: asyncio.StreamReader) -> None:
        self._process = process
        self._log = log

    async def says(self, words: str) -> str:
        """Wait for a line of its log."""
        async with asyncio.timeout(PATIENCE):
            while line := (await self._log.readline()).decode():
                if words in line:
                    return line
        raise AssertionError(f"the agent ended without saying {words!r}")

    async def ends(self) -> int:
        """Tell it to stop, as an operator does, and wait."""
        self._process.terminate()
        _, code = await asyncio.gather(self._log.read(), asyncio.to_thread(self._process.wait, PATIENCE))
        return code

    async def is_killed(self) -> None:
        """End it as a power cut does."""
        self._process.kill()
        await asyncio.to_thread(self._process.wait)


@asynccontextmanager
async def running(state: Path, *options: str | Path, **more: str) -> AsyncIterator[Running]:
    command = [sys.executable, *ENTRY, "run", "--state-dir", str(state), *map(str, options)]
    log = asyncio.StreamReader()
    read, write = os.pipe()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(log), os.fdopen(read, "rb")
    )
    process = await asyncio.to_thread(_started, command, write, environment(**more))
    try:
        yield Running(process, log)
    finally:
        process.kill()
        await asyncio.to_thread(process.wait)
        transport.close()


def _started(command: Sequence[str], errors: int, environ: Mapping[str, str]) -> Process:
    with Path(os.devnull).open("r+b") as nothing, os.fdopen(errors, "wb"):
        streams = (nothing.fileno(), nothing.fileno(), errors)
        return start(command, environ=environ, folder=Path.cwd(), streams=streams)
