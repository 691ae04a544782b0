"""The two forms of a file that are text: CSV and JSON lines."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache, partial
from itertools import chain, groupby
from json.encoder import encode_basestring
from typing import cast

from services.reporting.reportexport.fields import Field, Kind, columns_of
from services.reporting.reportexport.parts import Column, Part, Value, columns, entries_of, spread

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\N{FULLWIDTH EQUALS SIGN}", "\N{FULLWIDTH PLUS SIGN}")
"""What a text begins with that a spreadsheet may take for a formula."""

_SPECIAL = re.compile('[",\r\n]')
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - what is written is in UTC, and says so
_SECOND = 1_000_000
_MINUTE = 60 * _SECOND
_UNSHOWN = re.compile("[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
"""Characters that JSON may hold as they are, and that a terminal acts upon."""


class Csv:
    """Write CSV (RFC 4180): a column for every value that an entry has once; lists are JSON.

    A text that a spreadsheet would take for a formula gets an apostrophe in front of it: devices send what stands there.
    """

    def __init__(self, fields: Sequence[Field]) -> None:
        named = tuple(columns_of(fields))
        self._fields = [field for _, field in named]
        self._headings = _line(name for name, _ in named)
        self.written = 0

    def write(self, parts: Sequence[Part]) -> bytes:
        """Write entries; the headings before the first."""
        named = zip(self._fields, columns(parts), strict=True)
        cells = [_together(list(run)) for _, run in groupby(named, key=lambda one: id(one[1].indices))]
        text = self._headings + "".join(map(_line, zip(*chain.from_iterable(cells), strict=True)))
        self._headings = ""
        self.written += entries_of(parts)
        return text.encode()

    def end(self) -> bytes:
        """Write what is still to be written: nothing but the headings of a report without entries."""
        return self._headings.encode()


class JsonLines:
    """Write JSON lines: each entry in its JSON form, which moves no cursor when it is shown."""

    def __init__(self, _fields: Sequence[Field]) -> None:
        self.written = 0

    def write(self, parts: Sequence[Part]) -> bytes:
        """Write entries."""
        lines = _objects(parts)
        self.written += entries_of(parts)
        return _harmless("\n".join([*lines, ""])).encode()

    def end(self) -> bytes:
        """Write what is still to be written: nothing."""
        return b""


def _line(cells: Iterable[str]) -> str:
    return ",".join(cells) + "\r\n"


def _together(run: Sequence[tuple[Field, Column]]) -> Sequence[Sequence[str]]:
    """Write columns of which many entries have the same as one; others each by itself."""
    cells, indices = [_cells(field, column.values) for field, column in run], run[0][1].indices
    return cells if indices is None else [spread(list(map(",".join, zip(*cells, strict=True))), indices)]


def _cells(field: Field, values: Sequence[Value]) -> Sequence[str]:
    """Write values as cells that no spreadsheet computes."""
    if field.many:
        return ["" if value is None else _quoted(_harmless(_json(field, value))) for value in values]
    return _each(values, _CELLS[field.kind], "")


def _each(values: Sequence[Value], write: Callable[..., str], nothing: str) -> list[str]:
    """Write values, each only once: most come again and again."""
    written = {value: nothing if value is None else write(value) for value in set(values)}
    return list(map(written.__getitem__, values))


def _guarded(text: str) -> str:
    return _quoted(f"'{text}" if text.lstrip(" ").startswith(_FORMULA) else text)


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if _SPECIAL.search(text) else text


def _objects(parts: Sequence[Part]) -> list[str]:
    runs = [_members(list(run)) for _, run in groupby(parts, key=lambda part: id(part.indices))]
    form = "{" + ", ".join(form for form, _ in runs) + "}"
    return [form % members for members in zip(*chain.from_iterable(texts for _, texts in runs), strict=True)]


def _members(run: Sequence[Part]) -> tuple[str, Sequence[Sequence[str]]]:
    """Return the form of some members of each entry, and what stands in it: those that many entries have the same are one text."""
    form, texts = ", ".join(f'"{part.field.json}": %s' for part in run), list(map(_fragments, run))
    if run[0].indices is None:
        return form, texts
    return "%s", [spread([form % members for members in zip(*texts, strict=True)], run[0].indices)]


def _fragments(part: Part) -> Sequence[str]:
    field, values = part.field, part.values
    if not field.is_column:
        inner = _objects(part.parts)
        return inner if all(values) else [text if there else "null" for text, there in zip(inner, values, strict=True)]
    if field.many:
        return ["null" if value is None else _json(field, value) for value in values]
    return _each(values, _JSON[field.kind], "null")


def _time_of(time: int) -> str:
    minute, rest = divmod(time, _MINUTE)
    second, fraction = divmod(rest, _SECOND)
    if not fraction:
        return f"{_minute_of(minute)}:{second:02}Z"
    if fraction % 1000:
        return f"{_minute_of(minute)}:{second:02}.{fraction:06}Z"
    return f"{_minute_of(minute)}:{second:02}.{fraction // 1000:03}Z"


@lru_cache(maxsize=1024)
def _minute_of(minute: int) -> str:
    """Write a minute, which many attempts have in common."""
    return (_EPOCH + timedelta(minutes=minute)).isoformat(timespec="minutes")


_truth = {True: "true", False: "false"}.__getitem__
_CELLS: Mapping[Kind, Callable[..., str]] = {
    Kind.TEXT: _guarded,
    Kind.WORD: str,
    Kind.WHOLE: str,
    Kind.COUNT: str,
    Kind.TRUTH: _truth,
    Kind.TIME: _time_of,
}
_JSON: Mapping[Kind, Callable[..., str]] = {
    Kind.TEXT: encode_basestring,
    Kind.WORD: encode_basestring,
    Kind.WHOLE: str,
    Kind.COUNT: str,
    Kind.TRUTH: _truth,
    Kind.TIME: lambda value: f'"{_time_of(value)}"',
}


def _text(field: Field, value: Value) -> str:
    """Write one value of a list, or of an item of one, as JSON."""
    if value is None:
        return "null"
    if field.kind is Kind.GROUP and isinstance(value, Mapping):
        members = (f'"{inner.json}": {_json(inner, value[inner.json])}' for inner in field.fields)
        return "{" + ", ".join(members) + "}"
    return _JSON[field.kind](value)


def _json(field: Field, value: Value) -> str:
    if not field.many:
        return _text(field, value)
    items = cast("Sequence[Value]", value)
    if not items:
        return "[]"
    texts = (
        map(encode_basestring, cast("Sequence[str]", items))
        if field.kind is Kind.TEXT
        else map(partial(_text, field), items)
    )
    return "[" + ", ".join(texts) + "]"


def _harmless(text: str) -> str:
    """Write what a terminal acts upon as JSON writes it; it stands in texts alone."""
    if text.isascii() and "\x7f" not in text:
        return text
    return _UNSHOWN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
