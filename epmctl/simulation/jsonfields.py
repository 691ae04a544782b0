"""Read the members of JSON objects by type; what is wrong is reported with its path, and a harmless stand-in goes on.

Reading goes over tens of thousands of objects a second, so a path is spelt only where something is wrong.
"""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Final, TypeVar

from epmctl.documents.values import parse_time
from epmctl.jsontext import RepeatedKeys

T = TypeVar("T")
Json = dict[str, object]

_SHA256: Final = re.compile(r"[0-9A-Fa-f]{64}")


class _Missing:
    """Stands for a key that is not there, which null is."""


MISSING: Final = _Missing()


class JsonReader:
    """Reads values and remembers whether anything was wrong."""

    __slots__ = ("_report", "clean")

    def __init__(self, report: Callable[[str, str], None]) -> None:
        self._report = report
        self.clean = True

    def wrong(self, path: str, message: str) -> None:
        """Report one problem."""
        self.clean = False
        self._report(path, message)

    def mapping(self, value: object, path: str, known: frozenset[str]) -> Json | None:
        """Take an object with known keys alone; None where `value` is something else (MISSING was reported)."""
        if value is MISSING:
            return None
        if type(value) is not dict:
            if not isinstance(value, RepeatedKeys):
                self.wrong(path, f"must be an object, not {shown(value)}")
                return None
            self.repeated(value, path)
        found: Json = value
        if not found.keys() <= known:
            for key in sorted(found.keys() - known):
                self.wrong(join(path, key), f"unknown key; known keys: {', '.join(sorted(known))}")
        return found

    def repeated(self, value: RepeatedKeys, path: str) -> None:
        """Report the keys that stand more than once."""
        for key in value.repeated:
            self.wrong(join(path, key), "duplicate key; keep one")

    def given(self, holder: Json, key: str, path: str) -> object:
        """Give the value of a required key; MISSING, reported, where it is absent."""
        value = holder.get(key, MISSING)
        if value is MISSING:
            self.wrong(path, "required key is missing")
        return value

    def name(self, holder: Json, key: str, path: str) -> str:
        """Read a text that is required and not blank."""
        value = holder.get(key, MISSING)
        if type(value) is str:
            if not value:
                self.wrong(path, "must not be blank")
            return value
        self.wrong(path, "required key is missing" if value is MISSING else f"must be text, not {shown(value)}")
        return ""

    def sha256(self, holder: Json, path: str, *, required: bool) -> str:
        """Read a SHA-256 in hex; absent, null and blank say that it is not known, unless it is required."""
        value = holder.get("sha256")
        if type(value) is str and _SHA256.fullmatch(value) is not None:
            return value
        if value is not None and type(value) is not str:
            self.wrong(path, f"must be text, not {shown(value)}")
        elif value or required:
            self.wrong(path, "must be a SHA-256: 64 hexadecimal digits")
        return ""

    def texts(self, holder: Json, key: str, path: str) -> tuple[str, ...]:
        """Read a list of texts; absent and null = none."""
        value = holder.get(key)
        if value is None:
            return ()
        if type(value) is not list:
            self.wrong(path, f"must be a list of texts, not {shown(value)}")
            return ()
        for i, item in enumerate(value):
            if type(item) is not str:
                self.wrong(f"{path}[{i}]", f"must be text, not {shown(item)}")
                return ()
        return tuple(value)

    def each(self, holder: Json, key: str, path: str, read: Callable[[object, str], T | None]) -> tuple[T, ...]:
        """Read a list, each entry by `read(value, path)`; absent and null = none."""
        value = holder.get(key)
        if not value and (value is None or type(value) is list):
            return ()
        if type(value) is not list:
            self.wrong(path, f"must be a list, not {shown(value)}")
            return ()
        items = [read(item, f"{path}[{i}]") for i, item in enumerate(value)]
        return tuple(item for item in items if item is not None)

    def flag(self, holder: Json, key: str, path: str) -> bool:
        """Read true or false; absent and null = false."""
        value = holder.get(key)
        if value is True:
            return True
        if value is not None and value is not False:
            self.wrong(path, f"must be true or false, not {shown(value)}")
        return False

    def count(self, holder: Json, key: str, path: str) -> int | None:
        """Read a whole number from 0; absent and null = None."""
        value = holder.get(key)
        if value is None:
            return None
        if type(value) is not int or value < 0:
            self.wrong(path, f"must be a whole number from 0, or null for many, not {shown(value)}")
            return None
        return value

    def word(self, top: Json, key: str, words: dict[str, T]) -> T | None:
        """Read a required name among `words`."""
        value = self.given(top, key, key)
        found = words.get(value) if type(value) is str else None
        if found is None and value is not MISSING:
            self.wrong(key, f"must be one of {', '.join(words)}, not {shown(value)}")
        return found

    def time(self, holder: Json, key: str, path: str, *, required: bool) -> datetime | None:
        """Read an RFC 3339 time."""
        value = self.given(holder, key, path) if required else holder.get(key)
        if type(value) is str:
            try:
                return parse_time(value)
            except ValueError as error:
                self.wrong(path, str(error))
                return None
        if value is not MISSING and (required or value is not None):
            self.wrong(path, f"must be a time such as 2026-11-23T12:00:00Z, not {shown(value)}")
        return None


def join(path: str, key: str) -> str:
    """Spell the path of `key` below `path`."""
    return f"{path}.{key}" if path else key


def shown(value: object) -> str:
    """Say what a value is, the way a person would."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return f"the boolean {str(value).lower()}"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    text = repr(value) if isinstance(value, str) else f"the number {value}"
    return text if len(text) <= 60 else f"{text[:60]}…"  # noqa: PLR2004 - enough to recognise it
