"""Keep the agent's files: private to it, replaced as a whole, on disk before anybody relies on them."""

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path

PRIVATE_FOLDER = 0o700
PRIVATE_FILE = 0o600
_OTHERS = 0o077
_OTHERS_WRITE = 0o022


class StateError(Exception):
    """The agent's folder or a file in it cannot be used; the message names it and the remedy."""


def private_folder(folder: Path) -> Path:
    """Make a folder that only its owner can enter, or close an existing one; raise StateError for another's.

    Folders above it that are missing are as private: who may write there could put another in its place.
    """
    try:
        for missing in reversed([part for part in (folder, *folder.parents) if not part.exists()]):
            missing.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
        status = folder.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
            raise StateError(f"state folder {folder}: is not a folder of this user; choose another with --state-dir")
        if status.st_mode & _OTHERS_WRITE and any(folder.iterdir()):
            raise StateError(
                f"state folder {folder}: others may have put files there; look at them, then run chmod 700 on it"
            )
        if status.st_mode & _OTHERS:
            folder.chmod(PRIVATE_FOLDER)
    except OSError as error:
        raise StateError(
            f"state folder {folder}: cannot be used ({error.strerror}); choose another with --state-dir"
        ) from error
    return folder


def write_private(path: Path, content: bytes) -> None:
    """Replace a file as a whole: temporary file, sync, rename, sync of the folder. Raise OSError, the old file stays."""
    temporary = path.with_name(f".{path.name}.new")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, PRIVATE_FILE)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


class StateDisk:
    """The file system, as the agent keeps its state on it: each step is whole and durable, or raises OSError."""

    def write(self, path: Path, content: bytes) -> None:
        """Put a private file in place of another."""
        write_private(path, content)

    def move(self, path: Path, place: Path) -> None:
        """Put a file that is there in place of another of the same folder."""
        path.replace(place)
        sync_folder(place.parent)

    def remove(self, path: Path) -> None:
        """Remove a file, if it is there."""
        path.unlink(missing_ok=True)
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold the folder for this process alone; raise StateError where another agent runs on it."""
    try:
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
    except OSError as error:
        raise StateError(
            f"state folder {folder}: cannot be written ({error.strerror}); make room or repair it"
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StateError(f"state folder {folder}: another epm-agent runs on it; stop that one first") from error
        yield
    finally:
        os.close(descriptor)
