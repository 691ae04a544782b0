"""A folder of documents, one file each in a folder for each kind: written so that the same state is the same bytes.

A name may hold any character, and file systems take few and some forget case: what is not plain is written as percent and
hexadecimal digits, names that are too long or differ by case alone end in a digest. The name that counts is in the file.
"""

import hashlib
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from epmctl.ascode.canonical import Ref
from epmctl.ascode.live import OBJECT_KINDS
from epmctl.ascode.plan import Owner
from epmctl.documents.files import reason, write_whole
from epmctl.documents.load import read_documents
from epmctl.documents.model import Document, Kind
from epmctl.errors import CommandError, Flaw
from epmctl.output import Record, to_yaml

SUFFIX: Final = ".yaml"

_PLAIN: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")
_RESERVED: Final = frozenset(
    {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(1, 10))}
)
"""Names that mean devices on Windows, whatever their suffix."""

_LONGEST: Final = 180
_DIGITS: Final = 12


@dataclass(frozen=True, slots=True)
class Leftover:
    """A file that describes an object that the server does not hold."""

    path: Path
    ref: Ref


def file_names(refs: Iterable[Ref]) -> Mapping[Ref, Path]:
    """Give the file of each object, relative to the folder; no two are one file, whatever the file system makes of case."""
    plain = {ref: _encoded(ref[1]) for ref in refs}
    uses = Counter((ref[0], name.casefold()) for ref, name in plain.items())
    return {
        ref: Path(OBJECT_KINDS[ref[0]].name)
        / (_apart(name, ref[1]) if uses[ref[0], name.casefold()] > 1 or len(name) > _LONGEST else name + SUFFIX)
        for ref, name in plain.items()
    }


def write_folder(folder: Path, documents: Mapping[Ref, Record]) -> int:
    """Write every document into its file; return how many files changed. Other files stay.

    Raises CommandError where the folder of a kind is a link: what it leads to may be anywhere.
    """
    names = file_names(documents)
    for place in dict.fromkeys(folder / name.parent for name in names.values()):
        if place.is_symlink():
            raise CommandError(f"{place}: is a link to another place; put a folder there, or remove it")
    return sum(_write(folder / names[ref], to_yaml(document)) for ref, document in documents.items())


def leftovers(folder: Path, kinds: Iterable[Kind], held: Container[Ref], owner: Owner | None) -> Iterator[Leftover]:
    """Find the files that describe one object of a kind each, the owner's where one is given, which is not held.

    A file that holds anything else, or that cannot be read, is somebody's own and is left alone.
    """
    for kind in kinds:
        if (folder / OBJECT_KINDS[kind].name).is_symlink():
            continue
        for path in sorted((folder / OBJECT_KINDS[kind].name).glob(f"*{SUFFIX}")):
            document = _only_document(path)
            if document is None or document.kind is not kind or (kind, document.name) in held:
                continue
            if owner is None or document.metadata.labels.get(owner.key) == owner.value:
                yield Leftover(path, (kind, document.name))


def _only_document(path: Path) -> Document | None:
    flaws: list[Flaw] = []
    found = read_documents([str(path)], flaws, closed=False)
    return found.documents[0] if found is not None and len(found.documents) == 1 else None


def _encoded(name: str) -> str:
    text = "".join(
        character
        if character in _PLAIN and not (position == 0 and character == ".")
        else "".join(f"%{byte:02x}" for byte in character.encode("utf-8", "surrogatepass"))
        for position, character in enumerate(name)
    )
    if text.partition(".")[0].casefold() in _RESERVED:
        return f"%{ord(text[0]):02x}{text[1:]}"
    return text


def _apart(encoded: str, name: str) -> str:
    """Give a file name that no other name has: the tilde stands in none that is only encoded."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]
    return f"{encoded[:_LONGEST]}~{digest}{SUFFIX}"


def _write(path: Path, text: str) -> bool:
    """Write a file whole or not at all; one that says so already is left as it is."""
    try:
        if path.exists() and path.read_bytes() == text.encode():
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text, mode=0o644)
    except OSError as error:
        raise CommandError(f"{path}: cannot be written: {reason(error)}") from None
    return True
