"""Documents of every kind, drawn from the tables that the loader reads by, and ways to break their shape."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, assert_never

from hypothesis import strategies as st

from epmctl.documents.kindtables import SPECS, document_shape
from epmctl.documents.model import API_VERSION, Kind
from epmctl.documents.shapes import Choice, Choices, Each, Flag, Labels, Nested, Shape, Text, Texts, Value
from tests.builders.elevation import pem

Document = dict[str, Any]
Step = str | int

WORDS = ("a", "deux mots", "日本語", "null", "12", "true", "a: b", "- x", "*", "&a", "été")
MEANT: Mapping[str, Sequence[object]] = {
    "pem": (pem("vendor"),),
    "staleAfter": ("P30D", "PT12H", None),
    "expires": ("2026-11-23T12:00:00Z", "2026-11-23t12:00:00.5+01:00", "", None),
    "rights": (["policy_authoring.read"], []),
    "members": (["user:carol", "group:tier2"], []),
}
"""Values of keys that not every text will do for."""
LEFT_OUT = frozenset({"jwksUri", "jwksFile"})
"""Keys that do not go with `jwks`, or read a file."""


def documents(kind: Kind) -> st.SearchStrategy[Document]:
    """Draw documents of a kind whose shape is right, whatever they mean."""
    whole = _mapping(document_shape(SPECS[kind]))
    return whole.map(lambda drawn: {**drawn, "apiVersion": API_VERSION, "kind": kind.name})


def _mapping(shape: Shape) -> st.SearchStrategy[Document]:
    names = [name for name in shape.keys if name not in LEFT_OUT]
    required = {name: _of_key(name, shape) for name in names if shape.keys[name].required}
    optional = {name: _of_key(name, shape) for name in names if not shape.keys[name].required}
    drawn = st.fixed_dictionaries(required, optional=optional)
    return drawn.flatmap(
        lambda found: st.sampled_from(shape.one_of or ("",)).map(lambda one: _fitting(found, shape, one))
    )


def _fitting(found: Document, shape: Shape, one: str) -> Document:
    """Drop and add what the table says of keys together."""
    made = {name: value for name, value in found.items() if name not in shape.one_of}
    if one:
        made[one] = MEANT[one][0] if one in MEANT else "vendor"
    for first, second in shape.apart:
        if first in made and second in made:
            del made[second]
    return {
        name: value
        for name, value in made.items()
        if all(other in made for key, other in shape.only_with if key == name)
    }


def _of_key(name: str, shape: Shape) -> st.SearchStrategy[Any]:
    if name in MEANT:
        return st.sampled_from(MEANT[name])
    return _value(shape.keys[name].value)


def _value(value: Value) -> st.SearchStrategy[Any]:  # noqa: PLR0911 - a case each
    match value:
        case Text():
            return st.sampled_from(
                value.words or [*WORDS, *([""] if value.blank else []), *([None] if value.null else [])]
            )
        case Texts():
            return st.lists(st.sampled_from(WORDS), max_size=3, unique=True)
        case Flag():
            return st.booleans()
        case Choice():
            return st.sampled_from(list(value.options.__members__))
        case Choices():
            return st.lists(st.sampled_from(list(value.options.__members__)), unique=True)
        case Labels():
            return st.dictionaries(st.sampled_from(WORDS), st.sampled_from(WORDS), max_size=2)
        case Nested():
            inner = _mapping(value.shape)
            return st.none() | inner if value.null else inner
        case Each():
            return st.lists(_mapping(value.shape), max_size=2)
        case _:
            assert_never(value)


def broken(kind: Kind, document: Document) -> Iterator[tuple[str, Document]]:
    """Give the document with one flaw of its shape each, and the place of the flaw."""
    for path, value, told in _places((), document, document_shape(SPECS[kind])):
        for name, change in told.items():
            made = copy.deepcopy(document)
            at: Any = made
            for step in path:
                at = at[step]
            change(at)
            yield f"{name} at {'.'.join(map(str, path)) or 'the top'} ({type(value).__name__})", made


Change = Callable[[Any], None]


def _places(
    path: tuple[Step, ...], found: Document, shape: Shape
) -> Iterator[tuple[tuple[Step, ...], object, dict[str, Change]]]:
    """Walk over all mappings of a document, with what breaks each."""
    changes: dict[str, Change] = {"an unknown key": lambda at: at.update(unheardOf="x")}
    for name, key in shape.keys.items():
        if key.required:
            changes[f"no {name}"] = lambda at, name=name: at.pop(name)  # type: ignore[misc]
        if name in found:
            for number, wrong in enumerate(_wrong(key.value)):
                changes[f"{name} of a wrong sort, {number}"] = lambda at, name=name, wrong=wrong: at.update(
                    {name: wrong}
                )  # type: ignore[misc]
    yield path, found, changes
    for name, key in shape.keys.items():
        inner = found.get(name)
        if isinstance(key.value, Nested) and inner is not None:
            yield from _places((*path, name), inner, key.value.shape)
        elif isinstance(key.value, Each):
            for index, entry in enumerate(inner or ()):
                yield from _places((*path, name, index), entry, key.value.shape)


def _wrong(value: Value) -> Sequence[object]:  # noqa: PLR0911 - a case each
    """Give values that the table does not take for a key."""
    match value:
        case Text():
            return (1, True, ["a"], {"a": "b"}, *(() if value.blank else ("", " ")), *(() if value.null else (None,)))
        case Texts() | Choices():
            return (
                "a",
                None,
                {"a": "b"},
                [1],
                [None],
                [["a"]],
                *((["UNHEARD_OF"],) if isinstance(value, Choices) else ()),
            )
        case Flag():
            return ("true", 1, None, [])
        case Choice():
            return ("UNHEARD_OF", "", None, 1, [])
        case Labels():
            return ("a", None, ["a"], {"a": 1}, {"a": None})
        case Nested():
            return ("a", 1, ["a"], *(() if value.null else (None,)))
        case Each():
            return ("a", None, {"a": "b"}, ["a"], [None])
        case _:
            assert_never(value)
