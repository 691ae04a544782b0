"""The command `epm-agent` as a process, as its users start it."""

import asyncio
import os
import pty
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

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
    process = await started(*arguments, **more)
    output, errors = await asyncio.wait_for(process.communicate(typed.encode()), PATIENCE)
    return Done(process.returncode or 0, output.decode(), errors.decode())


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

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def says(self, words: str) -> str:
        """Wait for a line of its log."""
        assert self.process.stderr is not None
        async with asyncio.timeout(PATIENCE):
            while line := (await self.process.stderr.readline()).decode():
                if words in line:
                    return line
        raise AssertionError(f"the agent ended without saying {words!r}")

    async def ends(self) -> int:
        """Tell it to stop, as an operator does, and wait."""
        self.process.terminate()
        await asyncio.wait_for(self.process.communicate(), PATIENCE)
        return self.process.returncode or 0


@asynccontextmanager
async def running(state: Path, *options: str | Path, **more: str) -> AsyncIterator[Running]:
    process = await started("run", "--state-dir", state, *options, **more)
    try:
        yield Running(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
