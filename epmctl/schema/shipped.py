"""Read the schema that is shipped."""

import json
from pathlib import Path
from typing import Final, cast

from epmctl.errors import BadInputError
from epmctl.output import Plain, Record

PLACE: Final = Path(__file__).with_name("documents.json")


def shipped_schema() -> Record:
    """Read the schema of a document of any kind."""
    return cast("Record", json.loads(PLACE.read_text(encoding="utf-8")))


def schema_of(kind: str) -> dict[str, Plain]:
    """Give the schema of one kind alone; raise BadInputError for a word that is none."""
    whole = shipped_schema()
    choices = cast("list[dict[str, str]]", whole["oneOf"])
    kinds = [choice["$ref"].rpartition("/")[2] for choice in choices]
    if kind not in kinds:
        raise BadInputError(f"unknown kind {kind!r}; known kinds: {', '.join(kinds)}")
    definitions = cast("dict[str, Plain]", whole["$defs"])
    kept = {name: made for name, made in definitions.items() if name in _reached(kind, definitions)}
    return {
        "$schema": whole["$schema"],
        "$id": f"{whole['$id']}:{kind}",
        "title": kind,
        "$ref": f"#/$defs/{kind}",
        "$defs": kept,
    }


def _reached(kind: str, definitions: Record) -> set[str]:
    """Name the definitions that one needs, itself included."""
    reached: set[str] = set()
    waiting = [kind]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += _named(definitions[name])
    return reached


def _named(part: Plain) -> list[str]:
    if isinstance(part, dict):
        own = [part["$ref"].rpartition("/")[2]] if isinstance(part.get("$ref"), str) else []
        return own + [name for inner in part.values() for name in _named(inner)]
    if isinstance(part, list):
        return [name for inner in part for name in _named(inner)]
    return []
