"""How long the disk alone takes to keep something, over and over while the measurement runs, in a process of its own.

Commits wait for the disk, and whoever waits to commit waits with them. This tells a slow service from a slow disk.
It obeys a pipe: ("took",) answers with the milliseconds of each write since it was last asked; ("end",) ends.
"""

import os
import tempfile
from multiprocessing.connection import Connection
from pathlib import Path
from time import monotonic

PAGE = 8192
"""Bytes that a short transaction writes ahead in either database, about."""

PAUSE = 0.05
"""Seconds between writes: often enough to meet what commits meet, too seldom to be in their way."""

PAGES = 128
"""After so many it starts again, as databases use their log again: a file that grows waits longer."""


def run_disk(pipe: Connection, folder: Path) -> None:
    """Keep pages in a file of its own in the folder, one by one, and take the time."""
    took = list[float]()
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(PAGE * PAGES))
        os.fsync(file.fileno())
        number = 0
        while True:
            if pipe.poll(PAUSE):
                if pipe.recv()[0] == "end":
                    return
                pipe.send(took)
                took = []
            began = monotonic()
            os.pwrite(file.fileno(), os.urandom(PAGE), number % PAGES * PAGE)
            os.fdatasync(file.fileno())
            took.append((monotonic() - began) * 1000)
            number += 1
