"""Print what a command found: a table for people, JSON or YAML for programs.

Values come from the server in the end, and from devices before that: a table shows control characters as escapes, so
that no file name moves a terminal's cursor.
"""

import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, TypeVar

import click

from epmctl.visible import visible

Plain = bool | int | float | str | Sequence["Plain"] | Mapping[str, "Plain"] | None
"""What JSON can say."""

Record = Mapping[str, Plain]
"""One object, by the names of its JSON form."""

F = TypeVar("F", bound=Callable[..., object])

_FRACTION: Final = re.compile(r"\.\d+(?=Z$)")
_GAP: Final = "  "
_UNSHOWN: Final = re.compile("[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
"""Characters that JSON and YAML may hold as they are, and that a terminal acts upon."""
_NOTHING: Final = "-"
_WIDE: Final = frozenset({"W", "F"})


def output_option(command: F) -> F:
    """Give a command the option `--output table|json`."""
    return output_as("table", "json")(command)


def csv_output_option(command: F) -> F:
    """Give a command the option `--output table|json|csv`."""
    return output_as("table", "json", "csv")(command)


def document_output_option(command: F) -> F:
    """Give a command that prints documents the option `--output yaml|json`."""
    return output_as("yaml", "json")(command)


def output_as(*forms: str) -> Callable[[F], F]:
    """Give a command the option `--output` with these forms, the first where nobody says."""
    return click.option(
        "--output", type=click.Choice(forms), default=forms[0], show_default=True, help="How to print it."
    )


def print_json(value: Plain) -> None:
    """Print a value as indented JSON."""
    click.echo(to_json(value, indent=2))


def to_json(value: object, *, indent: int | None = None) -> str:
    """Write a value as JSON that moves no cursor when it is shown."""
    return _escaped(json.dumps(value, indent=indent, ensure_ascii=False))


def print_table(headings: Sequence[str], rows: Iterable[Sequence[Plain]]) -> None:
    """Print rows under their headings, each column as wide as its widest value; numbers stand to the right."""
    body = list(rows)
    cells = [list(headings), *([show(value) for value in row] for row in body)]
    widths = [max(map(width_of, column)) for column in zip(*cells, strict=True)]
    numeric = [bool(column) and all(_is_number(value) for value in column) for column in _columns(body, len(headings))]
    for row in cells:
        padded = (_pad(cell, width, right) for cell, width, right in zip(row, widths, numeric, strict=True))
        click.echo(_GAP.join(padded).rstrip())


def print_yaml(documents: Iterable[tuple[str, Record]]) -> None:
    """Print documents, each under a remark of its own (empty: none), separated by `---`."""
    for number, (remark, document) in enumerate(documents):
        if number:
            click.echo("---")
        if remark:
            click.echo(f"# {show(remark)}")
        click.echo(to_yaml(document), nl=False)


def to_yaml(document: Record) -> str:
    """Write a document as YAML, its keys in their order."""
    import yaml  # noqa: PLC0415 - tables and JSON do without

    class Dumper(yaml.SafeDumper):
        """Writes texts of several lines as blocks."""

    def block(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
        style = '"' if _UNSHOWN.search(text) else "|" if "\n" in text else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)

    Dumper.add_representer(str, block)
    text: str = yaml.dump(
        document, Dumper=Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False, width=1_000_000
    )
    return _escaped(text)


def whole_seconds(time: str) -> str:
    """Give an RFC 3339 time in UTC without fractions of a second."""
    return _FRACTION.sub("", time)


def show(value: Plain) -> str:
    """Say a value in one cell of a table."""
    if value is None or value in ("", [], {}):
        return _NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{visible(key)}={show(item)}" for key, item in value.items())
    if isinstance(value, Sequence):
        return ", ".join(show(item) for item in value)
    return str(value)


def width_of(text: str) -> int:
    """Tell how many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in _WIDE else 1 for c in text)


def _escaped(text: str) -> str:
    """Write what a terminal acts upon as JSON, and YAML in double quotes, write it; it stands in texts alone."""
    return _UNSHOWN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _is_number(value: Plain) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _columns(rows: Sequence[Sequence[Plain]], count: int) -> list[list[Plain]]:
    return [[row[index] for row in rows] for index in range(count)]


def _pad(text: str, width: int, right: bool) -> str:  # noqa: FBT001 - private, and called in one place
    space = " " * (width - width_of(text))
    return space + text if right else text + space
