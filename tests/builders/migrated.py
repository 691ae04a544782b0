"""Databases with the schema of each service, made once by a test process: migrating one takes longer than starting on it."""

import asyncio
import functools
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from services._chassis.config import SERVICES
from services._chassis.db import Database
from services._chassis.migrate import upgrade


def put_databases(data_dir: Path) -> None:
    """Put an empty database of the newest schema for each service into a data folder that has none; nothing else."""
    if any(data_dir.glob("*.db")):
        return
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    for service, content in _migrated().items():
        path = data_dir / f"{service}.db"
        path.touch(mode=0o600)
        path.write_bytes(content)


@functools.cache
def _migrated() -> Mapping[str, bytes]:
    # In a thread of its own, for whoever asks may stand in a running loop.
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(1) as thread:
        return {service: thread.submit(asyncio.run, _migrate(Path(folder), service)).result() for service in SERVICES}


async def _migrate(folder: Path, service: str) -> bytes:
    path = folder / f"{service}.db"
    database = await Database.connect(f"sqlite:///{path}", service=service)
    try:
        await upgrade(database)
    finally:
        await database.close()
    return path.read_bytes()
