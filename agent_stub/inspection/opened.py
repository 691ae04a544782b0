"""Open a file once, so that everything judged and started is the same file, and say where it really lies."""

import errno
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agent_stub.inspection.borrowed import with_rights
from agent_stub.model import Rights

SIZE_LIMIT = 512 * 1024 * 1024
_NETWORK_FILE_SYSTEMS = frozenset(
    (
        "9p",
        "afs",
        "ceph",
        "cifs",
        "coda",
        "fuse.glusterfs",
        "fuse.rclone",
        "fuse.s3fs",
        "fuse.sshfs",
        "gfs2",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "ocfs2",
        "smb3",
        "smbfs",
    )
)
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_MOUNTS = Path("/proc/self/mountinfo")
# Without O_NONBLOCK a named pipe would hold the agent until somebody writes.
_READING = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | getattr(os, "O_NOCTTY", 0)


class EvidenceError(Exception):
    """The file cannot be evaluated; the message is one sentence part for people and says why."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """What identifies the content of a file, as far as the file system tells."""

    device: int
    inode: int
    modified_ns: int
    changed_ns: int
    size: int


@dataclass(frozen=True, slots=True)
class OpenedFile:
    """A regular file, held open. `path` is its canonical path, read from the descriptor."""

    descriptor: int
    path: str
    owner: str
    stamp: Stamp
    root_only: bool
    local: bool

    def unchanged(self) -> bool:
        """Tell whether the file still is what it was when it was opened."""
        return _stamp(os.fstat(self.descriptor)) == self.stamp


@contextmanager
def opened(path: str, rights: Rights) -> Iterator[OpenedFile]:
    """Open a file for its inspection, by a caller's rights; raise EvidenceError for what is no readable regular file."""
    try:
        descriptor = with_rights(rights, lambda: _open(path))
    except ValueError as error:
        raise EvidenceError("its path holds a zero byte") from error
    except OSError as error:
        raise EvidenceError(_open_problem(error)) from error
    try:
        yield _describe(descriptor, path)
    finally:
        os.close(descriptor)


def _open(path: str) -> int:
    if sys.platform != "linux":
        return os.open(path, _READING)
    # A device may act on being opened (a watchdog starts to count), so the place is looked at first.
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        _require_file(os.fstat(place).st_mode)
        return os.open(f"/proc/self/fd/{place}", _READING)
    finally:
        os.close(place)


def _open_problem(error: OSError) -> str:
    if error.errno in {errno.ENOENT, errno.ENOTDIR}:
        return "it does not exist"
    if error.errno in {errno.EACCES, errno.EPERM}:
        return "its user or the agent may not read it"
    return f"it cannot be opened ({os.strerror(error.errno or errno.EIO).lower()})"


def _describe(descriptor: int, asked: str) -> OpenedFile:
    status = os.fstat(descriptor)
    _require_file(status.st_mode)
    if status.st_size > SIZE_LIMIT:
        raise EvidenceError(f"it is larger than {SIZE_LIMIT} bytes")
    path = _canonical(descriptor, asked)
    if not _leads_to(path, status):
        raise EvidenceError("it was deleted meanwhile, or lies where the agent does not see it")
    return OpenedFile(
        descriptor=descriptor,
        path=path,
        owner=str(status.st_uid),
        stamp=_stamp(status),
        root_only=only_root_writes(path),
        local=_is_local(status.st_dev),
    )


def _canonical(descriptor: int, asked: str) -> str:
    if sys.platform != "linux":
        return os.path.realpath(asked)
    return str(Path(f"/proc/self/fd/{descriptor}").readlink())


def _leads_to(path: str, status: os.stat_result) -> bool:
    """Tell whether the path is this file's for the agent too.

    The system names a file of another mount namespace by its path there, where users mount what they like: theirs would
    pass for the file of that name that root alone can write.
    """
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return (found.st_dev, found.st_ino) == (status.st_dev, status.st_ino)


def _require_file(mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise EvidenceError("it is a folder")
    if not stat.S_ISREG(mode):
        raise EvidenceError("it is not a regular file")


def only_root_writes(path: str) -> bool:
    """Tell whether nobody but root can put another file at a canonical path, judged component by component.

    An access list shows in the group bits of the mode (its mask), so a named user who may write counts too.
    """
    target = Path(path)
    try:
        statuses = [os.lstat(part) for part in (target, *target.parents)]
    except OSError:
        return False
    return all(
        status.st_uid == 0 and not status.st_mode & _OTHERS_WRITE and not stat.S_ISLNK(status.st_mode)
        for status in statuses
    )


def _is_local(device: int) -> bool:
    if sys.platform != "linux":
        return True
    number = f"{os.major(device)}:{os.minor(device)}"
    try:
        lines = _MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    for line in lines:
        fields, _, source = line.partition(" - ")
        if fields.split(" ")[2] == number:
            return keeps_files_here(source)
    return True  # a subvolume has a number of its own, which no mount shows


def keeps_files_here(mounted: str) -> bool:
    """Tell whether a mount (type, source and options, as the system lists it) keeps its files on this machine.

    Behind a FUSE mount is a program; one of a user's own may answer every read differently.
    """
    kind, _, rest = mounted.partition(" ")
    of_a_user = kind.startswith("fuse") and "user_id=0" not in rest.rpartition(" ")[2].split(",")
    return kind not in _NETWORK_FILE_SYSTEMS and not of_a_user


def _stamp(status: os.stat_result) -> Stamp:
    return Stamp(status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size)
