"""The two forms of a file that are text: CSV and JSON lines."""

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from json.encoder import encode_basestring
from typing import cast

from services.reporting.model.events import datetime_of
from services.reporting.reportexport.fields import Field, Kind, columns_of
from services.reporting.reportexport.parts import Part, Value, columns, entries_of

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\N{FULLWIDTH EQUALS SIGN}", "\N{FULLWIDTH PLUS SIGN}")
"""What a text begins with that a spreadsheet may take for a formula."""

_SECOND = 1_000_000
_UNSHOWN = re.compile("[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
"""Characters that JSON may hold as they are, and that a terminal acts upon."""


class Csv:
    """Write CSV (RFC 4180): a column for every value that an entry has once; lists are JSON.

    A text that a spreadsheet would take for a formula gets an apostrophe in front of it: devices send what stands there.
    """

    def __init__(self, fields: Sequence[Field]) -> None:
        named = tuple(columns_of(fields))
        self._fields = [field for _, field in named]
        self._headings: Sequence[str] | None = [name for name, _ in named]
        self.written = 0

    def write(self, parts: Sequence[Part]) -> bytes:
        """Write entries; the headings before the first."""
        out = io.StringIO()
        writer = csv.writer(out)
        if self._headings is not None:
            writer.writerow(self._headings)
            self._headings = None
        cells = [_cells(field, values) for field, values in zip(self._fields, columns(parts), strict=bool(parts))]
        writer.writerows(zip(*cells, strict=True))
        self.written += entries_of(parts)
        return out.getvalue().encode()

    def end(self) -> bytes:
        """Write what is still to be written: nothing but the headings of a report without entries."""
        return b"" if self._headings is None else self.write(())


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


def _cells(field: Field, values: Sequence[Value]) -> Sequence[object]:
    """Write values as cells that no spreadsheet computes."""
    if field.many:
        return ["" if value is None else _harmless(_json(field, value)) for value in values]
    if field.kind is Kind.TEXT:
        # Most texts come again and again.
        guarded = {text: _guarded(text) for text in set(values)}
        return [guarded[text] for text in values]
    if field.kind is Kind.TRUTH:
        return [_TRUTHS[value] for value in values]
    if field.kind is Kind.TIME:
        return ["" if value is None else _time_of(cast("int", value)) for value in values]
    return values


def _guarded(text: Value) -> Value:
    return f"'{text}" if isinstance(text, str) and text.lstrip(" ").startswith(_FORMULA) else text


_TRUTHS: Mapping[Value, str] = {True: "true", False: "false", None: ""}


def _objects(parts: Sequence[Part]) -> list[str]:
    form = "{" + ", ".join(f'"{part.field.json}": %s' for part in parts) + "}"
    return [form % members for members in zip(*map(_fragments, parts), strict=True)]


def _fragments(part: Part) -> Sequence[str]:
    field, values = part.field, part.values
    if not field.is_column:
        inner = _objects(part.parts)
        return inner if all(values) else [text if there else "null" for text, there in zip(inner, values, strict=True)]
    if field.many:
        return ["null" if value is None else _json(field, value) for value in values]
    write = _WRITERS[field.kind]
    return ["null" if value is None else write(value) for value in values]


_WRITERS: Mapping[Kind, Callable[..., str]] = {
    Kind.TEXT: encode_basestring,
    Kind.WORD: encode_basestring,
    Kind.WHOLE: str,
    Kind.COUNT: str,
    Kind.TRUTH: {True: "true", False: "false"}.__getitem__,
    Kind.TIME: lambda value: f'"{_time_of(value)}"',
}


def _text(field: Field, value: Value) -> str:
    """Write one value of a list, or of an item of one, as JSON."""
    if value is None:
        return "null"
    if field.kind is Kind.GROUP and isinstance(value, Mapping):
        members = (f'"{inner.json}": {_json(inner, value[inner.json])}' for inner in field.fields)
        return "{" + ", ".join(members) + "}"
    return _WRITERS[field.kind](value)


def _json(field: Field, value: Value) -> str:
    if not field.many:
        return _text(field, value)
    items = value if isinstance(value, Sequence) else ()
    return "[" + ", ".join(_text(field, item) for item in items) + "]"


def _harmless(text: str) -> str:
    """Write what a terminal acts upon as JSON writes it; it stands in texts alone."""
    if text.isascii() and "\x7f" not in text:
        return text
    return _UNSHOWN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _time_of(time: int) -> str:
    fraction = time % _SECOND
    exact = "seconds" if not fraction else "microseconds" if fraction % 1000 else "milliseconds"
    return datetime_of(time).replace(tzinfo=None).isoformat(timespec=exact) + "Z"
