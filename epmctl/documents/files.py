"""Find and read the files that `-f` names: a file, or the `*.yaml` and `*.yml` of a folder; `-` is stdin. Write files whole.

Of the folders in a folder, those are read that are called as `epm export` calls them, and nothing deeper.
"""

import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO

from epmctl.errors import Flaw

MAX_FILE_BYTES: Final = 10 * 1024 * 1024
STDIN: Final = "-"

FOLDERS: Final = frozenset(
    {
        "settings-policies",
        "rules-policies",
        "certificates",
        "groups",
        "roles",
        "role-assignments",
        "principal-groups",
        "principals",
        "scope-tags",
        "trusted-issuers",
    }
)
"""Folders that an export makes, one for each kind."""

_SUFFIXES: Final = frozenset({".yaml", ".yml"})


@dataclass(frozen=True, slots=True)
class Source:
    """The text of one file, under the name that errors show."""

    name: str
    text: str


def read_sources(places: Iterable[str], flaws: list[Flaw]) -> list[Source]:
    """Read every file that `places` name, each once; what cannot be read goes to `flaws`."""
    found: dict[Path | str, Source] = {}
    for place in places:
        for path in _files_of(place, flaws):
            key = path if path == STDIN else Path(path).resolve()
            if key not in found:
                text = read_text(str(path), flaws, limit=MAX_FILE_BYTES)
                found[key] = Source(shown(path), text or "")
    return list(found.values())


def write_whole(path: Path, text: str, *, mode: int = 0o600) -> None:
    """Write a file whole or not at all, in the place of one that is there; raise OSError where that cannot be done."""
    with whole_file(path, mode=mode) as file:
        file.write(text)


@contextmanager
def whole_file(path: Path, *, mode: int = 0o600) -> Iterator[TextIO]:
    """Open a file that takes the place of the one that is there once the block is left cleanly, else of none."""
    descriptor, scratch = tempfile.mkstemp(dir=path.parent, prefix=".epm-")  # made 0600
    with ExitStack() as unfinished:
        unfinished.callback(Path(scratch).unlink, missing_ok=True)
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            yield file
        Path(scratch).chmod(mode)
        Path(scratch).replace(path)
        unfinished.pop_all()


def read_text(place: str, flaws: list[Flaw], *, limit: int | None) -> str | None:
    """Read one file or stdin as UTF-8 text; None when it cannot be, which goes to `flaws`."""
    size = -1 if limit is None else limit + 1
    try:
        if place == STDIN:
            data = sys.stdin.buffer.read(size)
        else:
            with Path(place).open("rb") as file:
                data = file.read(size)
    except OSError as error:
        flaws.append(Flaw(place, 0, "", f"cannot be read: {reason(error)}"))
        return None
    if limit is not None and len(data) > limit:
        flaws.append(Flaw(shown(place), 0, "", f"larger than {limit} bytes; split it"))
        return None
    return _decoded(data, shown(place), flaws)


def _decoded(data: bytes, name: str, flaws: list[Flaw]) -> str | None:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        flaws.append(Flaw(name, line, "", f"not UTF-8 text: byte 0x{data[error.start]:02x}; save the file as UTF-8"))
        return None


def _files_of(place: str, flaws: list[Flaw]) -> list[str]:
    if place == STDIN or not Path(place).is_dir():
        return [place]
    try:
        below = sorted(entry for entry in Path(place).iterdir() if entry.name in FOLDERS and entry.is_dir())
        entries = [entry for folder in (Path(place), *below) for entry in _documents_in(folder)]
    except OSError as error:
        flaws.append(Flaw(place, 0, "", f"cannot be read: {reason(error)}"))
        return []
    if not entries:
        flaws.append(Flaw(place, 0, "", "holds no *.yaml or *.yml file; name the folder that does"))
    return [str(entry) for entry in entries]


def _documents_in(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if entry.suffix in _SUFFIXES and not entry.is_dir())


def shown(place: str) -> str:
    """Give the name of a place that errors show."""
    return "<stdin>" if place == STDIN else place


def reason(error: OSError) -> str:
    """Say why a file cannot be read."""
    return (error.strerror or str(error)).lower()
