"""Read the keys of one mapping by type, and refuse the keys that nobody asked for.

Every method names a key, checks its value and goes on with a harmless stand-in when it is wrong, so that one pass finds
all flaws. Nothing is guessed from unquoted YAML: text is text, `true` and `false` are the only booleans.
"""

import unicodedata
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Final, TypeVar

from epmctl.documents.nodes import BrokenNode, Flaws, ListNode, MapNode, Node, ScalarNode

T = TypeVar("T")
E = TypeVar("E", bound=Enum)

MAX_TEXT: Final = 65_536
MAX_ITEMS: Final = 100_000

# Characters that show as nothing or turn the reading direction: two names could look the same and be different.
_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_LAYOUT: Final = frozenset("\t\n\r\u200c\u200d")  # the last two join letters and pictures in running text


class Fields:
    """Reads one mapping."""

    def __init__(self, node: MapNode, path: str, flaws: Flaws) -> None:
        self.node = node
        self.path = path
        self.flaws = flaws
        self._known: set[str] = set()

    def line_of(self, key: str) -> int:
        """Give the line where `key` stands, or that of the whole mapping when it is absent."""
        return self.node.key_lines.get(key, self.node.line)

    def path_of(self, key: str) -> str:
        """Give the full path of `key`."""
        return f"{self.path}.{key}" if self.path else key

    def refuse(self, key: str, message: str) -> None:
        """Note that what `key` says is wrong."""
        self.flaws.add(self.line_of(key), self.path_of(key), message)

    def refuse_item(self, key: str, index: int, message: str) -> None:
        """Note that entry `index` of the list `key` is wrong."""
        node = self.node.entries.get(key)
        line = node.items[index].line if isinstance(node, ListNode) else self.line_of(key)
        self.flaws.add(line, f"{self.path_of(key)}[{index}]", message)

    def has(self, key: str) -> bool:
        """Tell whether `key` is given; it becomes a known key."""
        self._known.add(key)
        return key in self.node.entries

    def node_of(self, key: str, *, required: bool) -> Node | None:
        """Give the node of `key`; None when it is absent, which is a flaw if it is required."""
        if not self.has(key):
            # A key that was refused as broken still has its line; its absence was said already.
            if required and key not in self.node.key_lines:
                self.refuse(key, "required key is missing")
            return None
        return self.node.entries[key]

    def text(self, key: str, *, required: bool = False, layout: bool = False, blank: bool = True) -> str:
        """Read a text; absent = "". `layout` allows tab and line ends, `blank` the empty text."""
        node = self.node_of(key, required=required)
        return "" if node is None else self._text(node, self.path_of(key), layout=layout, blank=blank)

    def text_or_null(self, key: str, *, layout: bool = False) -> str:
        """Read an optional text for which null says the same as absent and blank."""
        node = self.node_of(key, required=False)
        if node is None or _is_null(node):
            return ""
        return self._text(node, self.path_of(key), layout=layout, blank=True)

    def texts(self, key: str, *, required: bool = False, layout: bool = False, blank: bool = False) -> tuple[str, ...]:
        """Read a list of texts; absent = empty."""
        items = self._list(key, required=required)
        path = self.path_of(key)
        return tuple(self._text(node, f"{path}[{i}]", layout=layout, blank=blank) for i, node in enumerate(items))

    def time_text(self, key: str) -> str:
        """Read the text of a time, quoted or not; absent or null = ""."""
        node = self.node_of(key, required=False)
        if isinstance(node, ScalarNode) and node.type == "timestamp":
            return node.value
        return self.text_or_null(key)

    def labels(self, key: str) -> dict[str, str]:
        """Read a mapping of texts to texts; absent = empty."""
        node = self.node_of(key, required=False)
        if not isinstance(node, MapNode):
            self._expect_map(node, self.path_of(key))
            return {}
        path = self.path_of(key)
        return {name: self._text(value, f"{path}.{name}", blank=True) for name, value in node.entries.items()}

    def flag(self, key: str, *, default: bool) -> bool:
        """Read `true` or `false`."""
        node = self.node_of(key, required=False)
        if node is None or isinstance(node, BrokenNode):
            return default
        if isinstance(node, ScalarNode) and node.type == "bool" and node.value in {"true", "false"}:
            return node.value == "true"
        self.flaws.add(node.line, self.path_of(key), f"must be true or false, not {_shown(node)}")
        return default

    def choice(self, key: str, options: type[E], *, default: E | None) -> E | None:
        """Read one name of `options`; without a default the key is required. None only where a flaw was noted."""
        node = self.node_of(key, required=default is None)
        if node is None:
            return default
        chosen = self._choice(node, self.path_of(key), options)
        return default if chosen is None else chosen

    def choices(self, key: str, options: type[E]) -> tuple[E, ...]:
        """Read a list of names of `options`, each at most once; absent = empty."""
        found: list[E] = []
        for i, node in enumerate(self._list(key, required=False)):
            path = f"{self.path_of(key)}[{i}]"
            chosen = self._choice(node, path, options)
            if chosen in found:
                self.flaws.add(node.line, path, f"{_shown(node)} is given twice; keep one")
            elif chosen is not None:
                found.append(chosen)
        return tuple(found)

    def fields(self, key: str, *, required: bool = False) -> "Fields | None":
        """Give a reader of the mapping under `key`; None when it is absent or no mapping."""
        node = self.node_of(key, required=required)
        if isinstance(node, MapNode):
            return Fields(node, self.path_of(key), self.flaws)
        self._expect_map(node, self.path_of(key))
        return None

    def each(self, key: str, read: Callable[["Fields"], T], *, required: bool = False) -> tuple[T, ...]:
        """Read a list of mappings, each by `read`; absent = empty."""
        found: list[T] = []
        for i, node in enumerate(self._list(key, required=required)):
            path = f"{self.path_of(key)}[{i}]"
            if isinstance(node, MapNode):
                found.append(read(Fields(node, path, self.flaws)))
            else:
                self._expect_map(node, path)
                # A stand-in keeps the numbers of the entries behind it right; what it lacks is nobody's fault.
                found.append(read(Fields(MapNode(node.line, {}, {}), path, Flaws(self.flaws.file))))
        return tuple(found)

    def finish(self) -> None:
        """Refuse every key that was not asked for."""
        for key in self.node.key_lines:
            if key not in self._known:
                self.refuse(key, f"unknown key; {_suggestion(key, self._known)}")

    def _list(self, key: str, *, required: bool) -> Sequence[Node]:
        node = self.node_of(key, required=required)
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

    def _text(self, node: Node, path: str, *, layout: bool = False, blank: bool) -> str:
        if isinstance(node, BrokenNode):
            return ""
        if not isinstance(node, ScalarNode):
            self.flaws.add(node.line, path, f"must be text, not {_shown(node)}")
            return ""
        if node.type != "str":
            hint = 'write "" for blank' if _is_null(node) else "put it in quotes"
            self.flaws.add(node.line, path, f"must be text, not {_shown(node)}; {hint}")
            return node.value
        self._check_text(node, path, layout=layout, blank=blank)
        return node.value

    def _check_text(self, node: ScalarNode, path: str, *, layout: bool, blank: bool) -> None:
        text = node.value
        if not text.strip() and not blank:
            self.flaws.add(node.line, path, "must not be blank")
        if len(text) > MAX_TEXT:
            self.flaws.add(node.line, path, f"longer than {MAX_TEXT} characters; shorten it")
        if text.isascii() and text.isprintable():
            return
        for character in text:
            if layout and character in _LAYOUT:
                continue
            if unicodedata.category(character) in _HIDDEN:
                message = f"holds the control or invisible character U+{ord(character):04X}; remove it"
                self.flaws.add(node.line, path, message)
                return


def _is_null(node: Node) -> bool:
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
    value = node.value if len(node.value) <= 40 else f"{node.value[:40]}…"  # noqa: PLR2004 - enough to recognise it
    if node.type == "str":
        return repr(value)
    kinds = {"bool": "the boolean", "int": "the number", "float": "the number", "timestamp": "the date"}
    return f"{kinds.get(node.type, 'the value')} {value}"


def _suggestion(key: str, known: set[str]) -> str:
    import difflib  # noqa: PLC0415 - needed on this path alone

    close = difflib.get_close_matches(key, known, n=1)
    return f"did you mean {close[0]}?" if close else f"known keys: {', '.join(sorted(known))}"
