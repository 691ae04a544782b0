"""Fields of the notices file, read one by one; what is wrong is collected, each with the path of its field."""

import stat
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import isodate
import yaml

from services._chassis.errors import Problem
from services._chassis.files import OPEN_TO_OTHERS

LARGEST_FILE = 256 * 1024
LARGEST_SECRET = 4096
LARGEST_PORT = 65535


class _Strict(yaml.SafeLoader):
    """Refuse a key that stands twice in a mapping: one of the two would be lost without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - YAML's
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"the key {key.value} stands twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def load(path: Path) -> Any:
    """Return what a YAML file holds. Raises ValueError with what is wrong with the file as a whole."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    if len(content) > LARGEST_FILE:
        raise ValueError(f"{path} is longer than {LARGEST_FILE} bytes")
    try:
        return yaml.load(content, _Strict)  # noqa: S506 - a safe loader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not YAML: {' '.join(str(error).split())}") from error


@dataclass(slots=True)
class Section:
    """Read one mapping of the file; `problems` is shared by all sections."""

    path: str
    values: dict[str, Any]
    folder: Path
    problems: list[Problem]
    _known: set[str] = field(default_factory=set)

    def bad(self, name: str, message: str) -> None:
        """Note what is wrong with a field."""
        self.problems.append(Problem(f"{self.path}.{name}" if self.path else name, message))

    def text(self, name: str, *, required: bool = True) -> str:
        """Return a text; empty where there is none."""
        value = self._take(name, required=required)
        if value is None:
            return ""
        if not isinstance(value, str) or not value or not value.isprintable():
            self.bad(name, "must be text without control characters")
            return ""
        return value

    def choice(self, name: str, choices: Collection[str]) -> str:
        """Return one of several words; empty where it is none of them."""
        value = self.text(name)
        if value and value not in choices:
            self.bad(name, f"must be {' or '.join(choices)}, not {value!r}")
            return ""
        return value

    def texts(self, name: str, choices: Collection[str] = ()) -> frozenset[str]:
        """Return a list of texts, all of them choices where there are any."""
        value = self._take(name, required=False)
        if value is None:
            return frozenset()
        if not isinstance(value, list) or not value or not all(isinstance(each, str) and each for each in value):
            self.bad(name, "must be a list of texts with at least one; leave it out for all")
            return frozenset()
        if choices and (unknown := sorted(set(value).difference(choices))):
            self.bad(name, f"holds {', '.join(unknown)}; there are {', '.join(choices)}")
        return frozenset(value)

    def port(self, name: str) -> int:
        """Return a port; 0 where it is none."""
        value = self._take(name, required=True)
        if value is None:
            return 0
        if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= LARGEST_PORT:
            self.bad(name, f"must be a number from 1 to {LARGEST_PORT}")
            return 0
        return value

    def duration(self, name: str, *, most: timedelta) -> timedelta | None:
        """Return a span of time. None: it is not given, or wrong."""
        text = self.text(name, required=False)
        if not text:
            return None
        try:
            span = isodate.parse_duration(text)
        except (isodate.ISO8601Error, ValueError, OverflowError):
            span = None
        if not isinstance(span, timedelta) or not timedelta() < span <= most:
            self.bad(name, f"must be an ISO 8601 duration such as PT4H, above zero and at most {most.days} days")
            return None
        return span

    def time(self, name: str) -> datetime | None:
        """Return a point in time. None: it is not given, or wrong."""
        value = self._take(name, required=False)
        if isinstance(value, str):
            with suppress(ValueError):
                value = datetime.fromisoformat(value)
        if value is None or (isinstance(value, datetime) and value.tzinfo is not None):
            return value
        self.bad(name, "must be a time with its offset from UTC, such as 2026-11-26T08:00:00Z")
        return None

    def file(self, name: str) -> Path | None:
        """Return the path of a file, as seen from the folder of the notices file."""
        text = self.text(name, required=False)
        return self.folder / Path(text).expanduser() if text else None

    def secret(self, name: str, *, required: bool = True) -> str:
        """Return what a file holds that its owner alone may read; empty where there is none."""
        text = self.text(name, required=required)
        if not text:
            return ""
        path = self.folder / Path(text).expanduser()
        try:
            return _secret(path)
        except OSError as error:
            self.bad(name, f"{path} cannot be read: {error.strerror}")
        except ValueError as error:
            self.bad(name, f"{path} {error}")
        return ""

    def sections(self, name: str, *, required: bool = False) -> Iterator["Section"]:
        """Read a list of mappings."""
        value = self._take(name, required=required)
        if value is None:
            return
        if not isinstance(value, list):
            self.bad(name, "must be a list")
            return
        for place, each in enumerate(value):
            yield from self._child(f"{name}[{place}]", each)

    def section(self, name: str) -> Iterator["Section"]:
        """Read a mapping, if there is one."""
        value = self._take(name, required=False)
        if value is not None:
            yield from self._child(name, value)

    def end(self) -> None:
        """Note the keys that nobody asked for."""
        for name in self.values.keys() - self._known:
            self.bad(str(name), f"is not known here; there are {', '.join(sorted(self._known))}")

    def _child(self, name: str, value: object) -> Iterator["Section"]:
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            self.bad(name, "must be a mapping")
            return
        child = Section(f"{self.path}.{name}" if self.path else name, value, self.folder, self.problems)
        yield child
        child.end()

    def _take(self, name: str, *, required: bool) -> Any:
        self._known.add(name)
        value = self.values.get(name)
        if value is None and required:
            self.bad(name, "is missing")
        return value


def _secret(path: Path) -> str:
    """Read a secret. Raises OSError, and ValueError that does not repeat it."""
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) or mode & OPEN_TO_OTHERS:
        raise ValueError(f"is no file, or is open to other users; run chmod 600 {path}")
    with path.open("rb") as file:
        content = file.read(LARGEST_SECRET + 1)
    try:
        text = content.decode().strip("\r\n")
    except UnicodeDecodeError:
        text = ""
    if not text or not text.isprintable() or len(content) > LARGEST_SECRET:
        raise ValueError(f"must hold one line of text, at most {LARGEST_SECRET} bytes")
    return text
