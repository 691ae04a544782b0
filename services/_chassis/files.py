"""Files that nobody else may read, written whole or not at all; and the lock that keeps a second process out."""

import contextlib
import errno
import fcntl
import os
import tempfile
from pathlib import Path

from services._chassis.errors import StateError

OPEN_TO_OTHERS = 0o077


def make_private_folder(path: Path) -> None:
    """Create the folder for its owner alone, or close an empty one to others.

    Raises StateError for one that cannot be made, for one of another user, who could replace what is in it, and for one
    that others may enter and that holds something: it may be theirs too (`--data-dir /tmp`).
    """
    try:
        _make_folders(path)
        status = path.stat()
        if status.st_uid not in (0, os.geteuid()):
            raise StateError(
                f"the data folder {path} belongs to another user; run chown on it, or name another folder",
                reason="FOLDER_NOT_PRIVATE",
            )
        if status.st_mode & OPEN_TO_OTHERS:
            if any(path.iterdir()):
                raise StateError(
                    f"the data folder {path} is open to other users; run chmod 700 {path}, or name another folder",
                    reason="FOLDER_NOT_PRIVATE",
                )
            path.chmod(0o700)
    except OSError as error:
        raise StateError(
            f"the data folder {path} cannot be used: {error.strerror}", reason="FOLDER_UNUSABLE"
        ) from error


def write_private(path: Path, content: bytes) -> None:
    """Write the file, readable by its owner alone, so that a crash leaves the old content or the new one.

    Raises StateError, which names the file, where it cannot be written.
    """
    try:
        _write_whole(path, content)
    except OSError as error:
        raise StateError(f"{path} cannot be written: {error.strerror}", reason="FILE_UNWRITABLE") from error


class Lock:
    """Hold a file that names this process, for as long as it lives."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def release(self) -> None:
        """Let the next process in."""
        os.close(self._descriptor)


def lock(data_dir: Path, service: str) -> Lock:
    """Take the lock of one service on one data folder. Raises StateError that names the process which holds it."""
    path = data_dir / f"{service}.lock"
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            _take(descriptor, data_dir, service)
        except BaseException:
            os.close(descriptor)
            raise
    except OSError as error:
        raise StateError(f"{path} cannot be written: {error.strerror}", reason="FILE_UNWRITABLE") from error
    return Lock(descriptor)


def _take(descriptor: int, data_dir: Path, service: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
        raise StateError(
            f"the {service} service already runs on {data_dir} (process {holder}); stop it, or use another data folder",
            reason="ALREADY_RUNNING",
        ) from error
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())


def _write_whole(path: Path, content: bytes) -> None:
    _make_folders(path.parent)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(temporary).unlink()
        raise
    _sync_folder(path.parent)


def _make_folders(path: Path) -> None:
    """Make the folder and those above it that are missing, each for its owner alone."""
    for folder in reversed([path, *path.parents]):
        if not folder.exists():
            folder.mkdir(mode=0o700, exist_ok=True)
    if not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
