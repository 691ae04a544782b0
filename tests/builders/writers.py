"""Processes that write events, as the operating system shows them."""

import os
import select
from pathlib import Path

from sqlalchemy.engine import URL

from services._chassis.clock import SystemClock
from services.reporting.store.apart import PROGRAM, SinkApart
from services.reporting.store.wire import Opening


def opening_of(url: URL, **environment: str) -> Opening:
    """Return what a writer for this database has to know."""
    told = {**os.environ, **environment}
    return Opening(url.render_as_string(hide_password=False), "warning", log_as_json=True, environment=told)


def sink_on(url: URL, **environment: str) -> SinkApart:
    """Return a sink for this database whose writer has these variables beside those of this process."""
    return SinkApart(opening_of(url, **environment), monotonic=SystemClock().monotonic)


def writers_of(parent: int) -> list[int]:
    """Return the ids of the writers that a process started."""
    running = [folder for folder in Path("/proc").iterdir() if folder.name.isdigit()]
    children = [int(folder.name) for folder in running if _parent_of(folder) == parent]
    return [child for child in children if PROGRAM in shown(child, "cmdline")]


def shown(process: int, name: str) -> str:
    """Return what everybody who may see the process can read of it: `cmdline` or `environ`; empty where it is gone."""
    try:
        return (Path("/proc") / str(process) / name).read_text(errors="replace")
    except OSError:
        return ""


def wait_for_end(descriptor: int, seconds: float = 20.0) -> bool:
    """Wait for the end of the process of this descriptor (`os.pidfd_open`); tell whether it came."""
    ended = select.poll()
    ended.register(descriptor, select.POLLIN)
    return bool(ended.poll(seconds * 1000))


def _parent_of(folder: Path) -> int:
    try:
        told = (folder / "stat").read_text()
    except OSError:
        return 0
    return int(told[told.rindex(")") + 2 :].split()[1])
