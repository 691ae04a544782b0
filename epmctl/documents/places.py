"""Find the place in a file that a problem is about, whoever found the problem.

The checks name keys as documents spell them; a service names the fields of its contract.
"""

import re
from typing import Final

from epmctl.documents.model import Document, Kind
from epmctl.documents.nodes import ListNode, MapNode, Node
from epmctl.errors import Flaw

_STEP: Final = re.compile(r"[^.\[\]]+|\[[0-9]{1,6}\]")
_SNAKE: Final = re.compile(r"_([a-z])")
_OF_METADATA: Final = re.compile(r"(name|description|scopeTags)\b")
_SPELLINGS: Final = (
    (re.compile(r"^settings\."), ""),
    (re.compile(r"(^|\.)lintIgnores\b"), r"\1lint"),
    (re.compile(r"(\blint\[\d+\])\.finding$"), r"\1.ignore"),
    (re.compile(r"\.arguments\.commandLines\b"), ".arguments"),
)


def key_of(kind: Kind, field: str) -> str:
    """Give the key of a document of `kind` that becomes `field` in the contract."""
    key = _SNAKE.sub(lambda letter: letter[1].upper(), field)
    if not key or key.startswith("metadata."):
        return key
    if _OF_METADATA.match(key) and not (kind is Kind.RoleAssignment and key.startswith("scopeTags")):
        return f"metadata.{key}"
    for contract, document in _SPELLINGS:
        key = contract.sub(document, key)
    return f"spec.{key}"


def flaw_in(document: Document, field: str, message: str) -> Flaw:
    """Give what a service says of `field` of its contract as a flaw of the document."""
    key = key_of(document.kind, field)
    return Flaw(document.file, line_of(document.node, key), key, message)


def line_of(root: MapNode, key: str) -> int:
    """Give the line of `key`, or of the innermost thing around it that is there."""
    node: Node | None = root
    line = root.line
    for step in _STEP.findall(key):
        if isinstance(node, MapNode):
            line = node.key_lines.get(step, line)
            node = node.entries.get(step)
        elif isinstance(node, ListNode) and step.startswith("["):
            index = int(step[1:-1])
            node = node.items[index] if index < len(node.items) else None
            line = node.line if node is not None else line
        else:
            break
    return line
