r"""Which folders standard users can write, as systems come, and which they cannot.

A folder is judged by its names from the root on. What lies in one of the `_PROTECTED` folders can be written by
administrators alone, but for the `_WRITABLE` ones within. Elsewhere a name such as Downloads gives it away at any depth.
What is neither may be either: `C:\Installers` inherits what the root of the drive allows, unless somebody saw to it.
A folder with wildcards can be written if one that it matches can.
"""

from dataclasses import dataclass
from functools import lru_cache

from elevation.model import Platform
from elevation.paths import separator
from elevation.wildcards import Pattern, has_wildcard, literals

Names = tuple[str, ...]

_TELLING_LITERALS = 3
_LOCAL_LETTERS = frozenset("abcdefg")


@dataclass(frozen=True, slots=True)
class Place:
    """What standard users can do in a folder."""

    writable: str = ""
    """Where in it they write, as people write the folder; blank where that is not known."""
    protected: bool = False
    """Tell whether only administrators write there for sure."""


@lru_cache(maxsize=8192)
def place_of(folder: str, platform: Platform) -> Place:
    """Judge the folder of a rule; blank is any folder, so neither known to be writable nor protected."""
    names = _names(folder, platform)
    if platform is Platform.WINDOWS:
        return _windows_place(names)
    return _place(names, platform, top="/")


def usually_mapped(folder: str) -> bool:
    """Tell whether a folder on WINDOWS is on a drive with a letter that is usually a network share's."""
    return folder[1:2] == ":" and folder[:1].casefold() not in _LOCAL_LETTERS


def _names(folder: str, platform: Platform) -> Names:
    mark = separator(platform)
    whole = folder if platform is Platform.LINUX else folder.casefold()
    return tuple(name for name in whole.split(mark) if name)


def _windows_place(names: Names) -> Place:
    if not names:
        return Place()
    drive, *below = names
    top = f"{drive.upper()}\\"
    if not below:
        return Place(writable=top)
    if has_wildcard(below[0]):
        return Place(writable=f"{top} (a wildcard right below it takes folders that users make there)")
    place = _place(tuple(below), Platform.WINDOWS, top=top)
    return Place(place.writable, protected=place.protected and drive == "c:")


def _place(names: Names, platform: Platform, *, top: str) -> Place:
    for known, written in _WRITABLE[platform].items():
        if _lies_in(names, known):
            return Place(writable=top + written)
    if any(_surely_lies_in(names, known) for known in _PROTECTED[platform]):
        return Place(protected=True)
    telling = next((name for name in names if _is_telling(name, platform)), "")
    return Place(writable=f'"{telling}"') if telling else Place()


def _lies_in(names: Names, known: Names) -> bool:
    """Tell whether a folder that the names match lies in the known one, or is it."""
    return len(names) >= len(known) and all(_may_be(name, literal) for name, literal in zip(names, known, strict=False))


def _surely_lies_in(names: Names, known: Names) -> bool:
    return names[: len(known)] == known


def _is_telling(name: str, platform: Platform) -> bool:
    known = _TELLING[platform]
    if not has_wildcard(name):
        return name in known
    return len("".join(literals(name))) >= _TELLING_LITERALS and any(_may_be(name, literal) for literal in known)


def _may_be(name: str, literal: str) -> bool:
    if not has_wildcard(name):
        return name == literal
    first, *_, last = literals(name)
    # Asked before the pattern is compiled, which takes far longer.
    return literal.startswith(first) and literal.endswith(last) and _pattern(name).matches(literal)


@lru_cache(maxsize=1024)
def _pattern(name: str) -> Pattern:
    return Pattern(name, "/", folds=False)  # folded already where the platform folds


def _folders(platform: Platform, text: str) -> dict[Names, str]:
    """Read folders, one a line, below the root or the drive."""
    return {_names(line.strip(), platform): line.strip() for line in text.strip().splitlines()}


_WRITABLE = {
    Platform.WINDOWS: _folders(
        Platform.WINDOWS,
        r"""
        Users
        Documents and Settings
        ProgramData
        PROGRA~3
        Temp
        Tmp
        $Recycle.Bin
        Windows\Temp
        Windows\Tasks
        Windows\Tracing
        Windows\Debug\WIA
        Windows\PLA\Reports
        Windows\PLA\Rules
        Windows\PLA\Templates
        Windows\Registration\CRMLog
        Windows\System32\com\dmp
        Windows\System32\FxsTmp
        Windows\System32\LogFiles\WMI
        Windows\System32\Microsoft\Crypto\RSA\MachineKeys
        Windows\System32\spool\drivers\color
        Windows\System32\spool\PRINTERS
        Windows\System32\spool\SERVERS
        Windows\System32\Tasks
        Windows\System32\Tasks_Migrated
        Windows\SysWOW64\com\dmp
        Windows\SysWOW64\FxsTmp
        Windows\SysWOW64\Tasks
        """,
    ),
    Platform.LINUX: _folders(
        Platform.LINUX,
        """
        tmp
        var/tmp
        dev/shm
        dev/mqueue
        home
        export/home
        var/home
        run/user
        run/lock
        run/shm
        var/lock
        var/crash
        var/run/user
        media
        mnt
        run/media
        proc
        """,
    ),
    Platform.MACOS: _folders(
        Platform.MACOS,
        """
        Users
        tmp
        private/tmp
        var/tmp
        private/var/tmp
        var/folders
        private/var/folders
        Volumes
        Library/Caches
        opt/homebrew
        usr/local/Cellar
        usr/local/Caskroom
        usr/local/Homebrew
        home
        System/Volumes/Data/Users
        System/Volumes/Data/tmp
        System/Volumes/Data/private/tmp
        System/Volumes/Data/private/var/tmp
        System/Volumes/Data/private/var/folders
        System/Volumes/Data/Library/Caches
        """,
    ),
}
"""Folders in which standard users can write, or in some folder of which each of them can."""

_PROTECTED = {
    Platform.WINDOWS: _folders(Platform.WINDOWS, "program files\nprogram files (x86)\nprogram files (arm)\nwindows"),
    Platform.LINUX: _folders(
        Platform.LINUX,
        "usr\nopt\netc\nbin\nsbin\nlib\nlib32\nlib64\nlibx32\nboot\nroot\nsnap\nnix/store\ngnu/store\nvar/lib",
    ),
    Platform.MACOS: _folders(
        Platform.MACOS,
        "applications\nsystem\nlibrary\nbin\nsbin\nusr/bin\nusr/sbin\nusr/lib\nusr/libexec\nusr/share\netc\nprivate/etc",
    ),
}
"""Folders in which administrators alone write."""

_TELLING = {
    Platform.WINDOWS: frozenset({"users", "temp", "tmp", "downloads", "appdata", "programdata", "desktop", "public"}),
    Platform.LINUX: frozenset({"tmp", "temp", "Downloads", "downloads", "Desktop", ".local", ".cache", "home"}),
    Platform.MACOS: frozenset({"users", "tmp", "temp", "downloads", "desktop"}),
}
"""Names that folders of users, or for all users, have wherever they lie."""
