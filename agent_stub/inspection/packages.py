"""Ask the package database of the system who owns a file.

Read from dpkg's own files by the child: an index of all paths would cost the agent more memory than all else it holds.
"""

from pathlib import Path

DPKG = Path("/var/lib/dpkg")


def owning_package(path: str, database: Path = DPKG) -> dict[str, str]:
    """Name the package that owns the path, its version and its maintainer; nothing if none does."""
    name = _owner(path, database / "info")
    return _description(name, database / "status") if name else {}


def _owner(path: str, lists: Path) -> str:
    # Where /bin is a link to /usr/bin, packages still list their files under either name.
    spellings = {path, path.removeprefix("/usr")} if path.startswith("/usr/") else {path}
    wanted = [b"\n" + spelling.encode("utf-8", "surrogateescape") + b"\n" for spelling in spellings]
    try:
        for file in lists.glob("*.list"):
            content = file.read_bytes()
            if any(line in content for line in wanted):
                return file.stem.partition(":")[0]
    except OSError:
        return ""
    return ""


def _description(name: str, status: Path) -> dict[str, str]:
    try:
        text = status.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    start = 0 if text.startswith(f"Package: {name}\n") else text.find(f"\nPackage: {name}\n")
    if start < 0:
        return {}
    paragraph = text[start:].lstrip("\n").partition("\n\n")[0]
    fields = dict(line.split(": ", 1) for line in paragraph.splitlines() if ": " in line and not line.startswith(" "))
    return {"name": name, "version": fields.get("Version", ""), "maintainer": fields.get("Maintainer", "")}
