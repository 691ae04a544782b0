"""Read the keys of one mapping by its table, and refuse the keys that the table does not name.

Every method names a key, checks its value and goes on with a harmless stand-in when it is wrong, so that one pass finds
all flaws. Nothing is guessed from unquoted YAML: text is text, `true` and `false` are the only booleans.
"""

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Final, TypeVar, cast

from elevation import texts
from epmctl.documents.nodes import BrokenNode, Flaws, ListNode, MapNode, Node, ScalarNode
from epmctl.documents.shapes import (
    MAX_ITEMS,
    MAX_TEXT,
    Choice,
    Choices,
    Each,
    Flag,
    Labels,
    Nested,
    Shape,
    Text,
    Texts,
)

T = TypeVar("T")
E = TypeVar("E", bound=Enum)
V = TypeVar("V")

LABEL: Final = Text()


class Fields:
    """Reads one mapping by its table; a key that the table does not name is refused."""

    def __init__(self, node: MapNode, path: str, flaws: Flaws, shape: Shape) -> None:
        self.node = node
        self.path = path
        self.flaws = flaws
        self.shape = shape
        for key in node.key_lines:
            if key not in shape.keys and not flaws.full:
                self.refuse(key, f"unknown key; {_suggestion(key, shape)}")

    def line_of(self, key: str) -> int:
        """Give the line where `key` stands, or that of the whole mapping when it is absent."""
        return self.node.key_lines.get(key, self.node.line)

    def path_of(self, key: str) -> str:
        """Give the full path of `key`."""
        return f"{self.path}.{key}" if self.path else key

    def refuse(self, key: str, message: str) -> None:
        """Note that what `key` says is wrong."""
        self.flaws.add(self.line_of(key), self.path_of(key), message)

    def has(self, key: str) -> bool:
        """Tell whether `key` is given."""
        return key in self.node.entries

    def is_null(self, key: str) -> bool:
        """Tell whether `key` is given as null."""
        return _is_null(self.node.entries.get(key))

    def text(self, key: str) -> str:
        """Read a text; absent, or null where the table takes that for blank = ""."""
        value = self._value(key, Text)
        node = self._node(key)
        if node is None or (value.null and _is_null(node)):
            return ""
        if value.moment and isinstance(node, ScalarNode) and node.type == "timestamp":
            return node.value
        return self._text(node, self.path_of(key), value)

    def texts(self, key: str, remedy: str = "") -> tuple[str, ...]:
        """Read a list of texts; absent = empty. `remedy` is for what does not have the form that the table asks for."""
        value = self._value(key, Texts)
        path = self.path_of(key)
        found: list[str] = []
        seen: set[str] = set()
        for index, node in enumerate(self._list(key)):
            place = f"{path}[{index}]"
            text = self._text(node, place, value.item)
            if text and value.item.form is not None and value.item.form.fullmatch(text) is None:
                self.flaws.add(node.line, place, f"{remedy}, not {_short(text)!r}")
            elif text and value.once and text in seen:
                self.flaws.add(node.line, place, f"{_short(text)!r} is given twice; keep one")
            seen.add(text)
            found.append(text)
        return tuple(found)

    def labels(self, key: str) -> dict[str, str]:
        """Read a mapping of texts to texts; absent = empty."""
        self._value(key, Labels)
        node = self._node(key)
        if not isinstance(node, MapNode):
            self._expect_map(node, self.path_of(key))
            return {}
        path = self.path_of(key)
        for name in node.entries:
            if hidden := texts.hidden_character(name):
                self.flaws.add(node.key_lines[name], f"{path}.{name}", texts.hidden_message(hidden))
        return {name: self._text(value, f"{path}.{name}", LABEL) for name, value in node.entries.items()}

    def flag(self, key: str) -> bool:
        """Read `true` or `false`."""
        default = self._value(key, Flag).default
        node = self._node(key)
        if node is None or isinstance(node, BrokenNode):
            return default
        if isinstance(node, ScalarNode) and node.type == "bool" and node.value in {"true", "false"}:
            return node.value == "true"
        self.flaws.add(node.line, self.path_of(key), f"must be true or false, not {_shown(node)}")
        return default

    def choice(self, key: str, options: type[E], *, refused: E | None = None) -> E | None:
        """Read one name of `options`; absent = the table's default. What is refused is taken for `refused`, or the default."""
        default = cast("E | None", self._value(key, Choice).default)
        node = self._node(key)
        if node is None:
            return default
        chosen = self._choice(node, self.path_of(key), options)
        return chosen or refused or default

    def choices(self, key: str, options: type[E]) -> tuple[E, ...]:
        """Read a list of names of `options`, each at most once; absent = empty."""
        self._value(key, Choices)
        found: list[E] = []
        for i, node in enumerate(self._list(key)):
            path = f"{self.path_of(key)}[{i}]"
            chosen = self._choice(node, path, options)
            if chosen in found:
                self.flaws.add(node.line, path, f"{_shown(node)} is given twice; keep one")
            elif chosen is not None:
                found.append(chosen)
        return tuple(found)

    def fields(self, key: str) -> "Fields | None":
        """Give a reader of the mapping under `key`; None when it is absent or no mapping."""
        value = self._value(key, Nested)
        node = self._node(key)
        if isinstance(node, MapNode):
            return Fields(node, self.path_of(key), self.flaws, value.shape)
        if not (value.null and _is_null(node)):
            self._expect_map(node, self.path_of(key))
        return None

    def fields_of(self, key: str, shape: Shape | None) -> "Fields | None":
        """Read as `fields` does by a table that depends on another key; None where that one is wrong, too."""
        node = self._node(key)
        if isinstance(node, MapNode):
            return None if shape is None else Fields(node, self.path_of(key), self.flaws, shape)
        self._expect_map(node, self.path_of(key))
        return None

    def each(self, key: str, read: Callable[["Fields"], T]) -> tuple[T, ...]:
        """Read a list of mappings, each by `read`; absent = empty."""
        shape = self._value(key, Each).shape
        found: list[T] = []
        for i, node in enumerate(self._list(key)):
            path = f"{self.path_of(key)}[{i}]"
            if isinstance(node, MapNode):
                found.append(read(Fields(node, path, self.flaws, shape)))
            else:
                self._expect_map(node, path)
                # A stand-in keeps the numbers of the entries behind it right; what it lacks is nobody's fault.
                found.append(read(Fields(MapNode(node.line, {}, {}), path, Flaws(self.flaws.file), shape)))
        return tuple(found)

    def _value(self, key: str, sort: type[V]) -> V:
        value = self.shape.keys[key].value
        if not isinstance(value, sort):
            raise TypeError(f"{self.shape.title}.{key} is no {sort.__name__}")
        return value

    def _node(self, key: str) -> Node | None:
        """Give the node of `key`; None when it is absent, which is a flaw if it is required."""
        if not self.has(key):
            # A key that was refused as broken still has its line; its absence was said already.
            if self.shape.keys[key].required and key not in self.node.key_lines:
                self.refuse(key, "required key is missing")
            return None
        return self.node.entries[key]

    def _list(self, key: str) -> Sequence[Node]:
        node = self._node(key)
        if node is None or isinstance(node, BrokenNode):
            return ()
        if not isinstance(node, ListNode):
            hint = "; write [] for an empty list or leave the key out" if _is_null(node) else ""
            self.flaws.add(node.line, self.path_of(key), f"must be a list, not {_shown(node)}{hint}")
            return ()
        if len(node.items) > MAX_ITEMS:
            self.refuse(key, f"more than {MAX_ITEMS} entries")
            return ()
        return node.items

    def _expect_map(self, node: Node | None, path: str) -> None:
        if node is not None and not isinstance(node, MapNode | BrokenNode):
            self.flaws.add(node.line, path, f"must be a mapping of keys, not {_shown(node)}")

    def _choice(self, node: Node, path: str, options: type[E]) -> E | None:
        if isinstance(node, BrokenNode):
            return None
        if isinstance(node, ScalarNode) and node.type == "str" and node.value in options.__members__:
            return options[node.value]
        known = ", ".join(options.__members__)
        self.flaws.add(node.line, path, f"must be one of {known}, not {_shown(node)}")
        return None

    def _text(self, node: Node, path: str, wanted: Text) -> str:
        if isinstance(node, BrokenNode):
            return ""
        if not isinstance(node, ScalarNode):
            self.flaws.add(node.line, path, f"must be text, not {_shown(node)}")
            return ""
        if node.type != "str":
            hint = 'write "" for blank' if _is_null(node) else "put it in quotes"
            self.flaws.add(node.line, path, f"must be text, not {_shown(node)}; {hint}")
            return node.value
        self._check_text(node, path, wanted)
        return node.value

    def _check_text(self, node: ScalarNode, path: str, wanted: Text) -> None:
        text = node.value
        if not text.strip() and not wanted.blank:
            self.flaws.add(node.line, path, "must not be blank")
        if len(text) > MAX_TEXT:
            self.flaws.add(node.line, path, f"longer than {MAX_TEXT} characters; shorten it")
            return
        if hidden := texts.hidden_character(text, layout=wanted.layout):
            self.flaws.add(node.line, path, texts.hidden_message(hidden))


def _is_null(node: Node | None) -> bool:
    return isinstance(node, ScalarNode) and node.type == "null"


def _shown(node: Node) -> str:
    """Say what a node is, the way a person would."""
    if isinstance(node, ListNode):
        return "a list"
    if isinstance(node, MapNode):
        return "a mapping"
    if isinstance(node, BrokenNode):
        return "something refused"
    if node.type == "null":
        return "null"
    value = _short(node.value)
    if node.type == "str":
        return repr(value)
    kinds = {"bool": "the boolean", "int": "the number", "float": "the number", "timestamp": "the date"}
    return f"{kinds.get(node.type, 'the value')} {value}"


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:40]}…"  # noqa: PLR2004 - enough to recognise it


def _suggestion(key: str, shape: Shape) -> str:
    import difflib  # noqa: PLC0415 - needed on this path alone

    if not shape.keys:
        return "there are none here"
    close = difflib.get_close_matches(key, shape.keys, n=1)
    return f"did you mean {close[0]}?" if close else f"known keys: {', '.join(sorted(shape.keys))}"
