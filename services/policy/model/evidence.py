"""What is known of a file that was seen, and how things that are made for it are called."""

from collections.abc import Collection
from dataclasses import dataclass

from elevation import texts
from elevation.model import Certificate, ElevationType, FileEvidence, Platform
from elevation.paths import extension, is_sha256, separator
from elevation.versions import parse_version

LONGEST_ORIGIN = 256
_LONGEST_MADE_NAME = 100
_LONGEST_TOLD = 255
_DIGITS_OF_HASH = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Hold what is known of a file that was seen."""

    file: FileEvidence
    platform: Platform
    publisher_fingerprint: str = ""
    """SHA-256 of the signing certificate; empty: unsigned, or not known."""
    certificates: tuple[Certificate, ...] = ()
    """The certificates of the signature, the signing one first; none where they are not known."""
    arguments: tuple[str, ...] = ()

    @property
    def folder(self) -> str:
        """Return the folder of the file as rules name it; empty where the path tells none."""
        mark = separator(self.platform)
        folder, found, _ = self.file.path.rpartition(mark)
        if not found:
            return ""
        root = not folder or (self.platform is Platform.WINDOWS and folder.endswith(":"))
        return folder + mark if root else folder

    @property
    def name(self) -> str:
        """Return the name of the file."""
        return self.file.path.rpartition(separator(self.platform))[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """Say what kind of rule is wanted."""

    elevation_type: ElevationType = ElevationType.USER_CONFIRMED
    same_path: bool = False
    same_arguments: bool = False
    by_publisher: bool = False
    rule_name: str = ""
    origin: str = ""


def made_name(evidence: Evidence) -> str:
    """Return a name made from that of the file, if that makes a good one."""
    last = extension(evidence.name)
    stem = evidence.name.removesuffix(f".{last}") if last else evidence.name
    name = _shown(stem[:_LONGEST_MADE_NAME]).strip()
    if not any((*texts.check_name("", name), *texts.check_new_name("", name))):
        return name
    return f"file-{evidence.file.sha256[:_DIGITS_OF_HASH].lower()}" if is_sha256(evidence.file.sha256) else "file"


def unique(name: str, taken: Collection[str]) -> str:
    """Return the name, numbered where it is taken, whatever its case."""
    known = {other.casefold() for other in taken}
    made, number = name, 1
    while made.casefold() in known:
        number += 1
        made = f"{name}-{number}"
    return made


def description(evidence: Evidence, origin: str) -> str:
    """Say of which file the rule was made, and where the evidence is from."""
    source = _shown(origin[:LONGEST_ORIGIN]) or "evidence"
    version = evidence.file.version[:_LONGEST_MADE_NAME] if parse_version(evidence.file.version) else ""
    return f"Made from {source}: {_shown(evidence.name[:_LONGEST_TOLD])} {version}".rstrip()


def _shown(text: str) -> str:
    """Leave out what does not show."""
    return "".join(character for character in text if not texts.hidden_character(character))
