"""What goes wrong in a process of the real programs: it dies at a point, or its clock is wrong.

`wrap` gives what `Installation.wraps` wants: the same command, with one of these called before it. Nothing is changed in
the program itself where the interpreter tells what is done on its own (`sys.addaudithook`).
"""

import functools
import importlib
import os
import signal
import sys
from datetime import datetime, timedelta
from pathlib import Path

from agent_stub import system
from agent_stub.model import Moment
from services._chassis import clock
from tests.builders.installation import Wrap

ROOT = Path(__file__).parents[2]


def wrap(hook: str, *values: object) -> Wrap:
    """Call one of the functions below in the process before its program begins."""
    prelude = f"import sys; sys.path[:0] = [{str(ROOT)!r}]; from tests.faults import hooks; hooks.{hook}(*{values!r}); "

    def wrapped(command: list[str]) -> list[str]:
        interpreter, option, entry, *arguments = command
        return [interpreter, option, prelude + entry, *arguments]

    return wrapped


def die_before_rename(name: str) -> None:
    """Die when a file of this name is about to take its place."""

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if event == "os.rename" and Path(str(arguments[1])).name == name:
            die()

    sys.addaudithook(watch)


def die_after_rename(name: str) -> None:
    """Die when a file of this name took its place, before anything else is done to the disk."""
    renamed = False

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal renamed
        if renamed and event == "open":
            die()
        renamed = renamed or (event == "os.rename" and Path(str(arguments[1])).name == name)

    sys.addaudithook(watch)


def die_in(module: str, path: str, state: str = "") -> None:
    """Die when a coroutine function has done its work; with `state` only once a device is led to that EPM state."""
    owner: object = importlib.import_module(module)
    *holders, name = path.split(".")
    for holder in holders:
        owner = getattr(owner, holder)
    original = getattr(owner, name)

    @functools.wraps(original)
    async def deadly(*arguments: object, **named: object) -> object:
        result = await original(*arguments, **named)
        devices = getattr(arguments[0], "after", {}).values()
        if not state or any(device.lifecycle.state.value == state for device in devices):
            die()
        return result

    setattr(owner, name, deadly)
    # A forked program has its modules already: some hold the function under a name of their own.
    for loaded in list(sys.modules.values()):
        for held, value in list(getattr(loaded, "__dict__", {}).items()):
            if value is original:
                setattr(loaded, held, deadly)


def shift_clocks(days: int) -> None:
    """Set the wall clock of server and agent to another day; the time since the machine started goes on."""
    by, agents, servers = timedelta(days=days), system.SystemClock.now, clock.SystemClock.now

    def agents_now(self: system.SystemClock) -> Moment:
        moment = agents(self)
        return Moment(moment.wall + by, moment.since_boot)

    def servers_now(self: clock.SystemClock) -> datetime:
        return servers(self) + by

    system.SystemClock.now = agents_now  # type: ignore[method-assign]
    clock.SystemClock.now = servers_now  # type: ignore[method-assign]


def follow_clock(path: str) -> None:
    """Let the agent's wall clock be as many days ahead as a file says at the moment."""
    original = system.SystemClock.now

    def now(self: system.SystemClock) -> Moment:
        moment = original(self)
        return Moment(moment.wall + timedelta(days=int(Path(path).read_text(encoding="utf-8"))), moment.since_boot)

    system.SystemClock.now = now  # type: ignore[method-assign]


def die() -> None:
    """End the process as a power cut does."""
    os.kill(os.getpid(), signal.SIGKILL)
