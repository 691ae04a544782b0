"""What a rule recognises, in the shape in which rules compare with each other.

A rule *takes in* another if it matches every file that the other one matches: whatever it asks for, the other asks for
as much or more. Two rules *share* files if some file may match both. Argument lists take no part in either: they are
looked at when the order of rules has been decided. A file may carry several signatures, but two signers that have
nothing to do with each other hardly ever sign one file, so rules for different signers are said to share none.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from elevation.compiled import Rank, rank_of
from elevation.lint.findings import Subject
from elevation.lint.patterns import Glob, glob_of, overlap, takes_in
from elevation.lint.subjects import rule_subject
from elevation.matching import DetectionError, certificate_of
from elevation.model import (
    Certificate,
    CertificateType,
    Detection,
    ElevationType,
    Platform,
    ReusableCertificate,
    Rule,
    RulesPolicy,
)
from elevation.versions import Version, parse_version

Signer = tuple[CertificateType, bytes]
"""The certificate that a rule asks for, and whose it has to be."""

SIGNER = 2
"""The bit of the signer in a shape."""


@dataclass(slots=True, eq=False)
class Recognition:
    """One rule of a policy, made ready to be compared."""

    policy: RulesPolicy
    rule: Rule
    subject: Subject
    path: str
    name: Glob
    folder: Glob | None
    """None: any folder."""
    sha256: str
    signer: Signer | None
    """None: whether it is signed or not."""
    certificate: Certificate | None
    version: Version | None
    texts: tuple[str, str, str]
    shape: int
    """Which of the telling fields it fills, a bit each."""
    denies: bool
    owned_by_root: bool
    """Whether it only matches files on a path that root alone can write."""
    ranks: tuple[Rank, Rank]
    """Its places in the order of rules: targeted at devices, and at users."""

    @property
    def telling(self) -> tuple[object, ...]:
        """Give the fields that two files rarely have in common, in the order of the bits of `shape`."""
        return (self.sha256, self.signer, *self.texts)

    def takes_in(self, other: "Recognition") -> bool:
        """Tell whether this rule matches every file that the other one of the same platform matches."""
        return (
            (not self.sha256 or self.sha256 == other.sha256)
            and (self.signer is None or self.signer == other.signer)
            and (not self.owned_by_root or other.owned_by_root)
            and (self.texts == other.texts or _asks_no_more(self.texts, other.texts))
            and (self.version is None or (other.version is not None and self.version <= other.version))
            and (self.folder is None or (other.folder is not None and takes_in(self.folder, other.folder)))
            and takes_in(self.name, other.name)
        )

    def shares(self, other: "Recognition") -> bool:
        """Tell whether some file may match this rule and the other one of the same platform."""
        return (
            (not self.sha256 or not other.sha256 or self.sha256 == other.sha256)
            and (self.texts == other.texts or _agree(self.texts, other.texts))
            and self._goes_with(other)
            and (self.folder is None or other.folder is None or overlap(self.folder, other.folder))
            and overlap(self.name, other.name)
        )

    def _goes_with(self, other: "Recognition") -> bool:
        """Tell whether one signature can satisfy both: the same certificate, or a publisher and who issued it."""
        if self.signer is None or other.signer is None or self.signer == other.signer:
            return True
        return _issued(self, other) or _issued(other, self)


def _asks_no_more(wide: tuple[str, ...], narrow: tuple[str, ...]) -> bool:
    return all(not ours or ours == theirs for ours, theirs in zip(wide, narrow, strict=True))


def _agree(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    return all(not ours or not theirs or ours == theirs for ours, theirs in zip(one, other, strict=True))


def _issued(authority: Recognition, publisher: Recognition) -> bool:
    issuer, leaf = authority.certificate, publisher.certificate
    if issuer is None or leaf is None or authority.signer is None or publisher.signer is None:
        return False
    kinds = (authority.signer[0], publisher.signer[0])
    if kinds != (CertificateType.CERTIFICATE_AUTHORITY, CertificateType.PUBLISHER):
        return False
    return leaf.issuer_name == issuer.subject_name


def recognitions(policy: RulesPolicy, certificates: Mapping[str, ReusableCertificate]) -> tuple[Recognition, ...]:
    """Make the rules of a policy ready; a rule whose certificate is missing is left out, as it never matches."""
    known = {name: certificates[name].certificate for name in reusables(policy) if name in certificates}
    found: list[Recognition] = []
    for number, rule in enumerate(policy.rules):
        try:
            certificate = _certificate(rule.detection, known)
        except DetectionError:
            continue
        found.append(_recognition(policy, number, certificate))
    return tuple(found)


def reusables(policy: RulesPolicy) -> frozenset[str]:
    """Name the reusable certificates of a policy."""
    conditions = (rule.detection.certificate for rule in policy.rules)
    return frozenset(found.reusable for found in conditions if found is not None and found.reusable)


def _certificate(detection: Detection, certificates: Mapping[str, Certificate]) -> Certificate | None:
    return None if detection.certificate is None else certificate_of(detection.certificate, certificates)


def _recognition(policy: RulesPolicy, number: int, certificate: Certificate | None) -> Recognition:
    rule = policy.rules[number]
    detection = rule.detection
    condition = detection.certificate
    kind = None if condition is None else condition.type
    sha256 = detection.file_hash.lower()
    signer = None if certificate is None or kind is None else (kind, certificate.der)
    texts = (detection.file_description, detection.product_name, detection.internal_name)
    return Recognition(
        policy=policy,
        rule=rule,
        subject=rule_subject(policy, rule),
        path=f"rules[{number}]",
        name=glob_of(detection.file_name, policy.platform),
        folder=glob_of(detection.file_path, policy.platform) if detection.file_path else None,
        sha256=sha256,
        signer=signer,
        certificate=certificate,
        version=parse_version(detection.minimum_version),
        texts=texts,
        shape=sum(1 << place for place, value in enumerate((sha256, signer, *texts)) if value),
        denies=rule.elevation_type is ElevationType.DENY,
        owned_by_root=policy.platform is Platform.LINUX and not detection.file_hash,
        ranks=(rank_of(policy, rule, user_targeted=False), rank_of(policy, rule, user_targeted=True)),
    )
