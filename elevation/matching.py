"""Match one rule against one file.

A rule matches when every filled field of its detection holds; blank fields are ignored. Names and folders compare
folded by case on WINDOWS and MACOS and exactly on LINUX; hashes compare whatever their case; other texts compare
exactly. A certificate condition holds for a trusted signer whose leaf (PUBLISHER), or whose leaf's direct issuer
(CERTIFICATE_AUTHORITY), is the very certificate of the rule, all of them valid now. On LINUX a rule without a hash
needs a path that only root can write, or its filePath does not hold.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime

from elevation.model import (
    Certificate,
    CertificateCondition,
    CertificateType,
    Detection,
    FileEvidence,
    Platform,
    Rule,
    Signer,
)
from elevation.paths import separator
from elevation.versions import Version, parse_version
from elevation.wildcards import Pattern, has_wildcard

# Looking a member up in its enum takes longer than all else that a constructor does.
_WINDOWS, _LINUX = Platform.WINDOWS, Platform.LINUX


class Facts:
    """What a file says, in the shape that rules compare with; what few rules ask for is worked out when one does."""

    _version: Version | None = None
    _version_read = False
    _leaves: tuple[bytes, ...] | None = None
    _issuers: tuple[bytes, ...] | None = None

    def __init__(self, file: FileEvidence, platform: Platform, now: datetime) -> None:
        self.file = file
        self.now = now
        self.sha256 = file.sha256.lower()
        self.mark = "\\" if platform is _WINDOWS else "/"
        path = file.path if platform is _LINUX else file.path.casefold()
        self.is_longer = len(path) != len(file.path)  # by folding
        self.match_folder, _, self.match_name = path.rpartition(self.mark)

    @property
    def name(self) -> str:
        """Give the name of the file as it stands on the device."""
        return self.file.path.rpartition(self.mark)[2]

    @property
    def folder(self) -> str:
        """Give the folder of the file as it stands on the device."""
        return self.file.path.rpartition(self.mark)[0]

    @property
    def version(self) -> Version | None:
        """Give the version as numbers; None where there is none."""
        if not self._version_read:
            self._version, self._version_read = parse_version(self.file.version), True
        return self._version

    @property
    def leaves(self) -> tuple[bytes, ...]:
        """Give the leaf certificates (DER) that count."""
        if self._leaves is None:
            self._leaves = tuple([signer.leaf.der for signer in self._counting_signers()])
        return self._leaves

    @property
    def issuers(self) -> tuple[bytes, ...]:
        """Give the direct issuers (DER) of the leaf certificates that count."""
        if self._issuers is None:
            self._issuers = tuple(
                issuer.der
                for signer in self._counting_signers()
                for issuer in signer.chain[:1]
                if issuer.subject_name == signer.leaf.issuer_name and issuer.not_before <= self.now <= issuer.not_after
            )
        return self._issuers

    def _counting_signers(self) -> list[Signer]:
        now = self.now
        return [
            signer
            for signer in self.file.signers
            if signer.trusted and signer.leaf.not_before <= now <= signer.leaf.not_after
        ]


Test = Callable[[Facts], bool]
"""Tells whether one field of a detection holds."""

Tests = tuple[tuple[str, Test], ...]
"""The filled fields of a detection, each under its name in the document."""


class DetectionError(ValueError):
    """A detection that cannot be compiled; `elevation.checks` finds it, with all else, before."""


def compile_detection(detection: Detection, platform: Platform, certificates: Mapping[str, Certificate]) -> Tests:
    """Compile the filled fields of a detection, the cheapest and most telling first; raise DetectionError."""
    tests: list[tuple[str, Test]] = []
    if detection.file_hash:
        wanted = detection.file_hash.lower()
        tests.append(("fileHash", lambda facts: facts.sha256 == wanted))
    if not detection.file_name:
        raise DetectionError("the rule names no file")
    tests.append(("fileName", _name_test(detection.file_name, platform)))
    if detection.file_path or (platform is Platform.LINUX and not detection.file_hash):
        tests.append(("filePath", _folder_test(detection, platform)))
    tests.extend(_text_tests(detection))
    if detection.minimum_version:
        tests.append(("minimumVersion", _version_test(detection.minimum_version)))
    if detection.certificate is not None:
        tests.append(("certificate", _certificate_test(detection.certificate, certificates)))
    return tuple(tests)


def matches(tests: Tests, facts: Facts) -> bool:
    """Tell whether every filled field holds."""
    for _, test in tests:  # noqa: SIM110 - a loop, because a generator doubles the time of a decision
        if not test(facts):
            return False
    return True


def failures(tests: Tests, facts: Facts) -> list[str]:
    """Name the filled fields that do not hold."""
    return [field for field, test in tests if not test(facts)]


def naive_matches(rules: Iterable[tuple[Rule, Tests]], facts: Facts) -> list[Rule]:
    """Match rule after rule: the plain meaning that the index has to agree with."""
    return [rule for rule, tests in rules if not failures(tests, facts)]


def comparable(text: str, platform: Platform) -> str:
    """Give a name or folder in the shape that compares: folded by case where the platform does so."""
    return text if platform is Platform.LINUX else text.casefold()


def folder_of(detection: Detection, platform: Platform) -> str:
    """Give the folder that a detection asks for in the shape that compares, without a trailing separator."""
    return comparable(detection.file_path.removesuffix(separator(platform)), platform)


def certificate_of(condition: CertificateCondition, certificates: Mapping[str, Certificate]) -> Certificate:
    """Find the certificate of a condition; raise DetectionError where the reusable one is missing."""
    if condition.certificate is not None:
        return condition.certificate
    found = certificates.get(condition.reusable)
    if found is None:
        raise DetectionError(f'reusable certificate "{condition.reusable}" does not exist')
    return found


def _name_test(pattern: str, platform: Platform) -> Test:
    if has_wildcard(pattern):
        found = Pattern(pattern, separator(platform), folds=platform is not Platform.LINUX)
        plainly = found.match_plainly
        return lambda facts: found.matches(facts.name) if facts.is_longer else plainly(facts.match_name) is not None
    wanted = comparable(pattern, platform)
    return lambda facts: facts.match_name == wanted


def _folder_test(detection: Detection, platform: Platform) -> Test:
    test = _plain_folder_test(detection, platform)
    if platform is not Platform.LINUX or detection.file_hash:
        return test
    if not detection.file_path:
        raise DetectionError("the rule has neither a file hash nor a folder")
    return lambda facts: facts.file.root_only_path and test(facts)


def _plain_folder_test(detection: Detection, platform: Platform) -> Test:
    folder = detection.file_path.removesuffix(separator(platform))
    if has_wildcard(folder):
        found = Pattern(folder, separator(platform), folds=platform is not Platform.LINUX)
        plainly = found.match_plainly
        return lambda facts: found.matches(facts.folder) if facts.is_longer else plainly(facts.match_folder) is not None
    wanted = folder_of(detection, platform)
    return lambda facts: facts.match_folder == wanted


def _text_tests(detection: Detection) -> Iterator[tuple[str, Test]]:
    product, internal, description = detection.product_name, detection.internal_name, detection.file_description
    if product:
        yield "productName", lambda facts: facts.file.product_name == product
    if internal:
        yield "internalName", lambda facts: facts.file.internal_name == internal
    if description:
        yield "fileDescription", lambda facts: facts.file.description == description


def _version_test(text: str) -> Test:
    minimum = parse_version(text)
    if minimum is None:
        raise DetectionError(f'minimum version "{text}" is not one to four dotted numbers')

    def test(facts: Facts) -> bool:
        version = facts.version
        return version is not None and version >= minimum

    return test


def _certificate_test(condition: CertificateCondition, certificates: Mapping[str, Certificate]) -> Test:
    wanted = certificate_of(condition, certificates).der
    if condition.type is CertificateType.PUBLISHER:
        return lambda facts: wanted in facts.leaves
    if condition.type is CertificateType.CERTIFICATE_AUTHORITY:
        return lambda facts: wanted in facts.issuers
    raise DetectionError("the certificate has no type")
