r"""Judge the path of a file, and take it apart.

A path can be evaluated when it is local and canonical: absolute, one separator between names, no `.` or `..`, nothing
after the name. On WINDOWS that is a drive letter, backslashes, and names without `<>:"|?*`, control characters, and
dots or blanks at the end (which Windows would drop). UNC and device paths are not local. Whether a drive letter is
mapped or a folder is a network mount cannot be seen from a path: the agent says so in the evidence. Short 8.3 names
cannot be told from long ones and are taken as they are. LINUX names are any bytes but `/` and NUL.
"""

import re

from elevation.model import FileEvidence, Platform

MAX_PATH = 32_767
_SHA256_LENGTH = 64

_WINDOWS_NAME = r'[^\\/:*?"<>|\x00-\x1f]++(?<![. ])'
_WINDOWS_PATH = re.compile(rf"[A-Za-z]:(?:\\{_WINDOWS_NAME})+")
_POSIX_PATH = re.compile(r"(?:/(?!\.{1,2}(?:/|\Z))[^/\x00]+)+", re.DOTALL)
_WINDOWS = Platform.WINDOWS
_SHA256 = re.compile(r"[0-9A-Fa-f]{64}")

is_sha256 = _SHA256.fullmatch


def separator(platform: Platform) -> str:
    """Give the one character that separates the names of a path."""
    return "\\" if platform is Platform.WINDOWS else "/"


def extension(name: str) -> str:
    """Give what follows the last dot of a name; a name that only starts with a dot has no extension."""
    stem, dot, last = name.rpartition(".")
    return last if dot and stem else ""


def obstacle(file: FileEvidence, platform: Platform) -> str | None:
    """Say why a file cannot be evaluated; None where it can."""
    if len(file.sha256) != _SHA256_LENGTH:
        return "its hash is not a SHA-256" if file.sha256 else "its hash is not known"
    if not file.local:
        return "it is not on a local disk"
    path = file.path
    canonical = _WINDOWS_PATH if platform is _WINDOWS else _POSIX_PATH
    if canonical.fullmatch(path) is not None and len(path) <= MAX_PATH:
        return None
    return _fault(path, platform)


def _fault(path: str, platform: Platform) -> str:
    if not path:
        return "its path is not known"
    if len(path) > MAX_PATH:
        return "its path is too long"
    if platform is Platform.WINDOWS and is_network_path(path):
        return "it is on a network share or a device path, which are not local"
    return "its path is not canonical"


def is_network_path(path: str) -> bool:
    r"""Tell whether a WINDOWS path is a UNC or device path, however its two leading separators are written."""
    return path[:2].replace("/", "\\") == "\\\\"
