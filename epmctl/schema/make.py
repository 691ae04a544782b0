"""Make the JSON Schema (2020-12) of all documents from the tables that the loader reads by.

INVARIANT: what the loader accepts, the schema accepts. The schema refuses what is wrong by shape alone: unknown keys,
wrong types, words that are none, what is missing; what a document means is for the loader.
"""

import json
import re
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Final, assert_never

from epmctl.documents.kindtables import SPECS, TOLD, document_shape
from epmctl.documents.model import API_VERSION, Kind
from epmctl.documents.shapes import (
    Choice,
    Choices,
    Each,
    Flag,
    Key,
    Labels,
    Nested,
    Shape,
    Text,
    Texts,
    Value,
)
from epmctl.output import Plain
from epmctl.schema.shipped import PLACE

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

_NOT_BLANK: Final = r"\S"
Schema = dict[str, Plain]


def document_schema() -> Schema:
    """Make the schema of a document of any kind, with every table it needs under its title."""
    definitions: dict[str, Plain] = {}
    for kind in Kind:
        definitions[kind.name] = _document(kind, definitions)
    return {
        "$schema": DIALECT,
        "$id": f"urn:openepm:documents:{API_VERSION.rpartition('/')[2]}",
        "title": "OpenEPM document",
        "description": "One document of `epm apply`, `epm plan`, `epm lint` and `epm simulate`.",
        "oneOf": [{"$ref": f"#/$defs/{kind.name}"} for kind in Kind],
        "$defs": {name: definitions[name] for name in sorted(definitions)},
    }


def written(schema: Schema) -> str:
    """Give the text of the file that is shipped."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _document(kind: Kind, definitions: dict[str, Plain]) -> Schema:
    shape = document_shape(SPECS[kind])
    made = _mapping(shape, definitions)
    own: Mapping[str, Schema] = {"apiVersion": {"const": API_VERSION}, "kind": {"const": kind.name}}
    properties = {
        name: {**own[name], **_told(key)} if name in own else _key(key, definitions) for name, key in shape.keys.items()
    }
    return {**made, "title": kind.name, "description": TOLD[kind], "properties": properties}


def _mapping(shape: Shape, definitions: dict[str, Plain]) -> Schema:
    made: Schema = {
        "type": "object",
        "title": shape.title,
        "additionalProperties": False,
        "properties": {name: _key(key, definitions) for name, key in shape.keys.items()},
    }
    if required := [name for name, key in shape.keys.items() if key.required]:
        made["required"] = required
    if shape.one_of:
        made["oneOf"] = [{"required": [name]} for name in shape.one_of]
    if shape.apart:
        made["allOf"] = [{"not": {"required": list(pair)}} for pair in shape.apart]
    if shape.only_with:
        made["dependentRequired"] = {name: [other] for name, other in shape.only_with}
    return made


def _key(key: Key, definitions: dict[str, Plain]) -> Schema:
    return {**_value(key.value, definitions), **_told(key)}


def _told(key: Key) -> Schema:
    return {"description": key.told}


def _value(value: Value, definitions: dict[str, Plain]) -> Schema:  # noqa: PLR0911 - a case each
    match value:
        case Text():
            return _text(value)
        case Texts():
            made: Schema = {"type": "array", "items": _text(value.item), "maxItems": value.most}
            return {**made, "uniqueItems": True} if value.once else made
        case Flag():
            return {"type": "boolean", "default": value.default}
        case Choice():
            made = {"enum": _words(value.options)}
            return made if value.default is None else {**made, "default": value.default.name}
        case Choices():
            return {"type": "array", "items": {"enum": _words(value.options)}, "uniqueItems": True}
        case Labels():
            return {"type": "object", "additionalProperties": {"type": "string"}}
        case Nested():
            inner = _reference(value.shape, definitions)
            return {"anyOf": [inner, {"type": "null"}]} if value.null else inner
        case Each():
            return {"type": "array", "items": _reference(value.shape, definitions)}
        case _:
            assert_never(value)


def _text(value: Text) -> Schema:
    if value.words:
        return {"enum": list(value.words)}
    made: Schema = {"type": ["string", "null"] if value.null else "string", "maxLength": value.most}
    if value.form is not None:
        made["pattern"] = _anchored(value.form, blank=value.blank)
    elif not value.blank:
        made["pattern"] = _NOT_BLANK
    return made


def _anchored(form: re.Pattern[str], *, blank: bool) -> str:
    """Give a form as a pattern of JSON Schema, which looks for it anywhere."""
    return f"^({form.pattern}|)$" if blank else f"^({form.pattern})$"


def _words(options: type[Enum]) -> list[Plain]:
    return list(options.__members__)


def _reference(shape: Shape, definitions: dict[str, Plain]) -> Schema:
    if shape.title not in definitions:
        definitions[shape.title] = {}  # taken, should it ever hold itself
        definitions[shape.title] = _mapping(shape, definitions)
    return {"$ref": f"#/$defs/{shape.title}"}


if __name__ == "__main__":
    Path(PLACE).write_text(written(document_schema()), encoding="utf-8")
