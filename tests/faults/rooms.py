"""Small disks for single programs: a tmpfs that only the program sees, in a mount namespace of its own."""

import functools
import os
import subprocess
from contextlib import suppress
from pathlib import Path

from tests.builders.installation import Installation

_NAMESPACE = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]
_MOUNT = 'mount -t tmpfs -o "mode=0700,size=$1" none "$3" && cp -a "$2/." "$3" && shift 3 && exec "$@"'
"""Is given a size, the folder to copy, the folder to mount at, and the program that is to see it."""
_FILLER = "filler"
_BLOCK = bytes(4096)


@functools.cache
def may_mount() -> bool:
    """Tell whether a program of ours can be given a disk."""
    with suppress(FileNotFoundError):
        return subprocess.run([*_NAMESPACE, "mount", "-t", "tmpfs", "none", "/mnt"], check=False).returncode == 0
    return False


class Room:
    """The disk of one program of an installation, in the place of a folder of its own.

    The program is started under `name` and finds what was in the folder. Others find the disk there after `show`.
    """

    def __init__(self, house: Installation, name: str, folder: Path, *, size: str) -> None:
        self._house = house
        self._name = name
        self._folder = folder
        self._before = folder.rename(folder.with_name(f"{folder.name}.before"))
        self._size = size
        self._disk = folder.with_name(f"{folder.name}.disk")
        self._disk.mkdir()
        house.wraps[name] = self._wrap

    def show(self) -> None:
        """Let everybody see the disk of the program, which runs by now."""
        process = self._house.programs[self._name].process
        self._folder.symlink_to(Path(f"/proc/{process.pid}/root") / self._disk.relative_to("/"))

    def fill(self) -> None:
        """Leave no room at all."""
        with suppress(OSError), (self._folder / _FILLER).open("wb", buffering=0) as file:
            while file.write(_BLOCK):
                pass

    def free(self) -> None:
        """Give the room back."""
        (self._folder / _FILLER).unlink()

    def _wrap(self, command: list[str]) -> list[str]:
        words = [str(self._disk) if word == str(self._folder) else word for word in command]
        return [*_NAMESPACE, "sh", "-c", _MOUNT, "sh", self._size, str(self._before), str(self._disk), *words]
