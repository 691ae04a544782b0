"""Read YAML text into plain nodes that know their line, and refuse what a policy document must not hold.

The text is taken event by event, so that nothing is expanded, nothing recurses, and every refusal has a place:

- anchors, aliases, merge keys and tags are refused: one text, one meaning, and no way to make a small file large;
- a key stands once in its mapping and is text;
- depth, number of nodes, length of keys and size of a document are limited;
- a document that holds nothing is skipped.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Protocol

import yaml

from epmctl.errors import Flaw

MAX_DEPTH: Final = 32
MAX_NODES: Final = 1_000_000
MAX_STRUCTURAL_FLAWS: Final = 100
MAX_FLAWS: Final = 1000
"""Flaws of one file that are shown; the rest adds nothing to them."""
MAX_KEY: Final = 256
MAX_DOCUMENT: Final = 4 * 1024 * 1024
"""Characters of one document: no server takes a larger message."""
MAX_DOCUMENTS: Final = 20_000
"""Documents of one file: no server holds as many objects."""

_TAG_PREFIX: Final = "tag:yaml.org,2002:"
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_RESOLVER: Final = yaml.resolver.Resolver()


@dataclass(frozen=True, slots=True)
class ScalarNode:
    """One value; `type` is what unquoted YAML makes of it: str, null, bool, int, float, timestamp."""

    line: int
    value: str
    type: str


@dataclass(frozen=True, slots=True)
class ListNode:
    """A sequence."""

    line: int
    items: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class MapNode:
    """A mapping; `key_lines` tells where each key stands."""

    line: int
    entries: dict[str, "Node"]
    key_lines: dict[str, int]


@dataclass(frozen=True, slots=True)
class BrokenNode:
    """What stands where something was refused already; readers pass over it in silence."""

    line: int


Node = ScalarNode | ListNode | MapNode | BrokenNode


class Flaws:
    """Collects what is wrong with one file."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.found: list[Flaw] = []

    @property
    def full(self) -> bool:
        """Tell whether no more flaws are noted."""
        return len(self.found) > MAX_FLAWS

    def add(self, line: int, key: str, message: str) -> None:
        """Note one flaw at `line`."""
        if len(self.found) < MAX_FLAWS:
            self.found.append(Flaw(self.file, line, key, message))
        elif not self.full:
            self.found.append(Flaw(self.file, 0, "", f"more than {MAX_FLAWS} flaws; the others are not shown"))


class _Mark(Protocol):
    """A place in the text, as the parsers of either language tell it."""

    @property
    def index(self) -> int:
        """Give how many characters stand before it."""


class _GiveUpError(Exception):
    """The rest of the file is not worth reading."""


@dataclass(slots=True)
class _Frame:
    """A container that is still open."""

    line: int
    path: str
    is_map: bool
    items: list[Node] = field(default_factory=list)
    entries: dict[str, Node] = field(default_factory=dict)
    key_lines: dict[str, int] = field(default_factory=dict)
    key: str | None = None  # the key whose value comes next
    awaits_key: bool = True

    def next_path(self) -> str:
        """Give the path of the node that comes next."""
        if not self.is_map:
            return f"{self.path}[{len(self.items)}]"
        key = "?" if self.key is None else self.key
        return f"{self.path}.{key}" if self.path else key

    def close(self) -> Node:
        """Make the finished node."""
        if self.is_map:
            return MapNode(self.line, self.entries, self.key_lines)
        return ListNode(self.line, tuple(self.items))


def read_nodes(text: str, flaws: Flaws) -> list[Node]:
    """Give the root node of every document in `text` that is not empty; what is refused goes to `flaws`."""
    composer = _Composer(flaws)
    try:
        for event in _events(text):
            composer.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = ", ".join(part for part in (error.context, error.problem) if part)
        flaws.add(mark.line + 1 if mark else 0, "", f"not valid YAML: {what}")
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, max(error.position, 0)) + 1
        flaws.add(line, "", f"not valid YAML: {error.reason}; remove the character")
    except (_GiveUpError, RecursionError):
        pass
    return composer.roots


def _events(text: str) -> Iterator[yaml.Event]:
    return yaml.parse(text, Loader=_LOADER)


class _Composer:
    """Builds nodes from events with a stack of its own."""

    def __init__(self, flaws: Flaws) -> None:
        self.roots: list[Node] = []
        self._flaws = flaws
        self._stack: list[_Frame] = []
        self._nodes = 0
        self._start = 0
        self._documents = 0

    def take(self, event: yaml.Event) -> None:
        """Take the next event of the stream."""
        self._measure(event)
        if isinstance(event, yaml.ScalarEvent):
            self._scalar(event)
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            self._open(event)
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            self._put(self._stack.pop().close())
        elif isinstance(event, yaml.AliasEvent):
            line = _line(event)
            self._refuse(line, self._path(), f"alias *{_short(event.anchor or '')} is not read; write the value out")
            self._key_or_put(BrokenNode(line))

    def _measure(self, event: yaml.Event) -> None:
        """Give up on a document that is too large, long before its end."""
        if isinstance(event, yaml.DocumentStartEvent):
            self._start = _index(event.start_mark)
            self._documents += 1
            if self._documents > MAX_DOCUMENTS:
                self._flaws.add(_line(event), "", f"more than {MAX_DOCUMENTS} documents; split the file")
                self.roots.clear()  # to check them all takes longer than anybody waits
                raise _GiveUpError
        elif _index(event.end_mark) - self._start > MAX_DOCUMENT:
            message = f"a document of more than {MAX_DOCUMENT} characters, which no server takes; split it"
            self._flaws.add(_line(event), self._path(), message)
            raise _GiveUpError

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        self._count(event)
        line = _line(event)
        node = ScalarNode(line, event.value, _type_of(event))
        self._refuse_properties(event)
        self._key_or_put(node)

    def _open(self, event: yaml.MappingStartEvent | yaml.SequenceStartEvent) -> None:
        self._count(event)
        self._refuse_properties(event)
        if len(self._stack) >= MAX_DEPTH:
            self._flaws.add(_line(event), self._path(), f"nested deeper than {MAX_DEPTH} levels; the rest is not read")
            raise _GiveUpError
        path = self._path()
        is_map = isinstance(event, yaml.MappingStartEvent)
        self._stack.append(_Frame(_line(event), path, is_map))

    def _key_or_put(self, node: Node) -> None:
        frame = self._stack[-1] if self._stack else None
        if frame is not None and frame.is_map and frame.awaits_key:
            frame.awaits_key = False
            frame.key = self._key(frame, node)
        else:
            self._put(node)

    def _put(self, node: Node) -> None:
        if not self._stack:
            if not (isinstance(node, ScalarNode) and node.type == "null"):
                self.roots.append(node)
            return
        frame = self._stack[-1]
        if not frame.is_map:
            frame.items.append(node)
        elif frame.awaits_key:  # a list or a mapping closed where a key belongs
            frame.awaits_key = False
            frame.key = self._key(frame, node)
        else:
            if frame.key is not None:
                frame.entries[frame.key] = node
            frame.awaits_key, frame.key = True, None

    def _key(self, frame: _Frame, node: Node) -> str | None:
        """Give the key that `node` is, or None for one that was refused; its value is then dropped."""
        if isinstance(node, BrokenNode):
            return None
        if not isinstance(node, ScalarNode):
            self._refuse(node.line, frame.path, "a key must be text, not a list or a mapping")
            return None
        path = f"{frame.path}.{_short(node.value)}" if frame.path else _short(node.value)
        if len(node.value) > MAX_KEY:
            self._refuse(node.line, path, f"a key of {len(node.value)} characters; at most {MAX_KEY} are allowed")
        elif node.type == "merge":
            self._refuse(node.line, path, "merge keys are not read; write the keys out")
        elif node.type != "str":
            self._refuse(node.line, path, f"a key must be text; put it in quotes: {_short(node.value)!r}")
        elif node.value in frame.key_lines:
            first = frame.key_lines[node.value]
            self._refuse(node.line, path, f"duplicate key, first given on line {first}; keep one")
        else:
            frame.key_lines[node.value] = node.line
            return node.value
        return None

    def _path(self) -> str:
        return self._stack[-1].next_path() if self._stack else ""

    def _refuse_properties(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent) -> None:
        if event.anchor is not None:
            self._refuse(_line(event), self._path(), f"anchor &{_short(event.anchor)} is not read; remove it")
        if event.tag is not None:
            self._refuse(_line(event), self._path(), f"tag {_short(event.tag)} is not read; remove it")

    def _refuse(self, line: int, key: str, message: str) -> None:
        self._flaws.add(line, key, message)
        if len(self._flaws.found) >= MAX_STRUCTURAL_FLAWS:
            self._flaws.add(line, key, f"{MAX_STRUCTURAL_FLAWS} flaws so far; the rest of the file is not read")
            raise _GiveUpError

    def _count(self, event: yaml.Event) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            self._flaws.add(_line(event), "", f"more than {MAX_NODES} values; split the file")
            raise _GiveUpError


def _type_of(event: yaml.ScalarEvent) -> str:
    """Tell what unquoted YAML makes of a value; a quoted one is always "str"."""
    tag: str = _RESOLVER.resolve(yaml.ScalarNode, event.value, event.implicit)  # type: ignore[no-untyped-call]
    return tag.removeprefix(_TAG_PREFIX)


def _line(event: yaml.Event) -> int:
    return 0 if event.start_mark is None else event.start_mark.line + 1


def _index(mark: _Mark | None) -> int:
    return 0 if mark is None else mark.index


def _short(text: str) -> str:
    return text if len(text) <= MAX_KEY else f"{text[:40]}…"
