"""A rule for a file that was seen: the narrowest detection that its evidence allows, and why each field is as it is."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from elevation import commandline, texts
from elevation.model import (
    Certificate,
    CertificateCondition,
    CertificateType,
    ChildProcesses,
    Detection,
    ElevationType,
    Platform,
    Rule,
)
from elevation.paths import is_sha256
from elevation.versions import parse_version
from elevation.wildcards import has_wildcard
from services._chassis.errors import Problem
from services.policy.model.certificates import fingerprint_of
from services.policy.model.evidence import LONGEST_ORIGIN, Evidence, Wishes, description, made_name, unique


@dataclass(frozen=True, slots=True)
class Proposal:
    """Hold a rule, why its fields are as they are, and why it cannot be made of the evidence."""

    rule: Rule
    notes: tuple[str, ...]
    problems: tuple[Problem, ...]


def propose(
    evidence: Evidence,
    wishes: Wishes,
    *,
    reusable: Mapping[str, tuple[str, Certificate]],
    taken: Collection[str],
    now: datetime,
) -> Proposal:
    """Make a rule; `reusable` are certificates that rules may name, by fingerprint, and `taken` the names of rules."""
    proposer = _Proposer(evidence, wishes, reusable, now)
    detection = proposer.detection()
    deny = wishes.elevation_type is ElevationType.DENY
    rule = Rule(
        name=wishes.rule_name or unique(made_name(evidence), taken),
        description=description(evidence, wishes.origin),
        elevation_type=wishes.elevation_type,
        child_processes=None if deny else ChildProcesses.REQUIRE_RULE,
        detection=detection,
        arguments=proposer.arguments(),
    )
    return Proposal(rule, tuple(proposer.notes), (*proposer.problems, *_problems_of(wishes, taken)))


class _Proposer:
    """Fill the fields of a rule one by one, and note why each is as it is."""

    def __init__(
        self,
        evidence: Evidence,
        wishes: Wishes,
        reusable: Mapping[str, tuple[str, Certificate]],
        now: datetime,
    ) -> None:
        self._evidence = evidence
        self._file = evidence.file
        self._wishes = wishes
        self._reusable = reusable
        self._now = now
        self.notes: list[str] = []
        self.problems: list[Problem] = []

    def detection(self) -> Detection:
        """Return how the file is recognised."""
        internal = self._file.internal_name
        return Detection(
            file_name=self._name(),
            file_path=self._folder(),
            file_hash=self._hash(),
            certificate=self._certificate(),
            minimum_version=self._version(),
            file_description=self._description(),
            product_name=self._fact("productName", self._file.product_name),
            internal_name=self._fact("internalName", internal),
        )

    def arguments(self) -> tuple[str, ...] | None:
        """Return the allowed command lines; None where any will do."""
        if not self._wishes.same_arguments:
            return None
        if self._wishes.elevation_type is ElevationType.DENY:
            self._refuse(
                "same_arguments", "does not go with DENY, which denies whatever the arguments are; leave it out"
            )
            return None
        if not self._evidence.arguments:
            self._note("arguments", "none are allowed, as there were none")
            return ()
        self._note("arguments", "those of the attempt are allowed, and none at all")
        return (commandline.quote(self._evidence.arguments, self._evidence.platform),)

    def _name(self) -> str:
        name = self._evidence.name
        if has_wildcard(name):
            message = "has * or ? in the name of the file, which a rule would read as any text; rename the file"
            self._refuse("file.path", message)
        self._note("fileName", "the whole name of the file")
        return name

    def _folder(self) -> str:
        if not self._wishes.same_path:
            self._note("filePath", "blank, so that the rule holds in any folder")
            return ""
        folder = self._evidence.folder
        if not folder:
            self._refuse("same_path", "cannot be kept: file.path names no folder; leave same_path out")
        elif has_wildcard(folder):
            message = "cannot be kept: the folder has * or ? in its name, which a rule would read as any text"
            self._refuse("same_path", f"{message}; leave same_path out")
        self._note("filePath", "the folder of the file and none below it")
        return folder

    def _hash(self) -> str:
        sha256 = self._file.sha256
        if self._wishes.by_publisher:
            if self._wishes.elevation_type is ElevationType.AUTOMATIC:
                message = "does not go with AUTOMATIC, which needs the hash of the file; leave one of the two out"
                self._refuse("by_publisher", message)
            self._note("fileHash", "blank, so that later versions match too")
            return ""
        if is_sha256(sha256):
            self._note("fileHash", "this very file, and no other version of it")
            return sha256.lower()
        if sha256:
            self._refuse("file.sha256", "is not a SHA-256; give 64 hexadecimal digits")
        elif self._path_alone():
            self._note(
                "fileHash", "blank, as it is not known; the rule holds only while nobody but root can write the folder"
            )
        else:
            self._refuse("file.sha256", f"is not known, and no rule can be made without it; {self._way_out()}")
        return ""

    def _path_alone(self) -> bool:
        """Tell whether a folder may stand for the hash."""
        linux = self._evidence.platform is Platform.LINUX
        return linux and self._wishes.same_path and self._wishes.elevation_type is not ElevationType.AUTOMATIC

    def _way_out(self) -> str:
        if self._evidence.platform is Platform.LINUX and self._wishes.elevation_type is not ElevationType.AUTOMATIC:
            return "set same_path, if nobody but root can write the folder"
        if self._wishes.elevation_type is ElevationType.AUTOMATIC:
            return "AUTOMATIC needs it; choose another elevation type or find the hash"
        return "set by_publisher, if the file is signed"

    def _certificate(self) -> CertificateCondition | None:
        condition, note = self._signer()
        if condition is None and self._wishes.by_publisher:
            self._refuse("by_publisher", f"there is no certificate to recognise the file by: {note}; leave it out")
        self._note("certificate", note if condition else f"blank: {note}")
        return condition

    def _signer(self) -> tuple[CertificateCondition | None, str]:
        """Return the signature that the file has to carry, or why none is asked for."""
        certificates, fingerprint = self._evidence.certificates, self._evidence.publisher_fingerprint.lower()
        if self._evidence.platform is Platform.LINUX:
            return None, "files on LINUX carry no certificates"
        if certificates:
            fingerprint = fingerprint_of(certificates[0])
        elif not fingerprint:
            return None, "the evidence tells of no signature"
        name, certificate = self._reusable.get(fingerprint, ("", certificates[0] if certificates else None))
        if certificate is None:
            return None, (
                "the evidence tells the fingerprint of the signing certificate alone, and no reusable certificate that you"
                " may see has it"
            )
        if not certificate.not_before <= self._now <= certificate.not_after:
            return None, "the signing certificate is not valid now, so that no rule with it would match"
        if name:
            return CertificateCondition(CertificateType.PUBLISHER, reusable=name), (
                f'the reusable certificate "{name}", which signed the file; the device has to trust the signature'
            )
        return CertificateCondition(CertificateType.PUBLISHER, certificate), (
            "the certificate that signed the file; the device has to trust the signature"
        )

    def _version(self) -> str:
        if not self._wishes.by_publisher:
            self._note("minimumVersion", "blank, as the hash says which version it is")
            return ""
        if parse_version(self._file.version) is None or len(self._file.version) > texts.MAX_FACT:
            told = "is not one to four dotted numbers" if self._file.version else "is not known"
            self._note("minimumVersion", f"blank: the version of the file {told}")
            return ""
        self._note("minimumVersion", "the version of the file, so that no older one matches")
        return self._file.version

    def _description(self) -> str:
        if self._wishes.by_publisher:
            self._note("fileDescription", "blank, as it may change with the version")
            return ""
        return self._fact("fileDescription", self._file.description)

    def _fact(self, field: str, text: str) -> str:
        """Return a text of the file, if a rule can hold it."""
        if not text:
            self._note(field, "blank, as the file has none")
            return ""
        problem = next(iter((*texts.check_text("", text, texts.MAX_FACT), *texts.check_visible("", text))), None)
        if problem is not None:
            self._note(field, f"blank: that of the file {problem.message.partition(';')[0]}")
            return ""
        self._note(field, "that of the file, equal to the letter")
        return text

    def _note(self, field: str, note: str) -> None:
        self.notes.append(f"{field}: {note}")

    def _refuse(self, field: str, message: str) -> None:
        self.problems.append(Problem(field, message))


def _problems_of(wishes: Wishes, taken: Collection[str]) -> Iterator[Problem]:
    if wishes.rule_name.casefold() in {name.casefold() for name in taken} and wishes.rule_name:
        yield Problem(
            "rule_name", f'"{wishes.rule_name}" is the name of another rule of the policy; choose another name'
        )
    found = [
        *texts.check_text("", wishes.origin, LONGEST_ORIGIN),
        *texts.check_visible("", wishes.origin),
    ]
    for problem in found:
        yield Problem("origin", problem.message)
