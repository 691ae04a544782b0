"""Evidence of a file that was seen, and the rule that is proposed for it."""

from collections.abc import Iterator

from elevation.certificates import CertificateError, parse_der
from elevation.codec.rules import encode_rule
from elevation.codec.words import decode_word
from elevation.model import Certificate, ElevationType, FileEvidence, Platform
from elevation.paths import is_sha256
from epm.elevation.v1 import event_pb2, rules_pb2
from epm.policy.v1 import analysis_pb2, lint_pb2
from services._chassis.errors import Problem
from services.policy.codec.authored import rules_policy_to_proto
from services.policy.codec.findings import findings_to_proto
from services.policy.codec.reading import unknown_to_us
from services.policy.model.certificates import fingerprint_of
from services.policy.model.evidence import Evidence, Wishes
from services.policy.model.findings import MOST_FINDINGS
from services.policy.usecases.analysis.proposal import ProposalWanted, ProposedPolicy

_MISSING = "is missing; set it"


def proposal_wanted_from_proto(request: analysis_pb2.ProposeRuleRequest) -> ProposalWanted:
    """Read what was seen, and what kind of rule is wanted; what cannot be read of it stands among its flaws."""
    flaws = unknown_to_us(request)
    certificates = tuple(_certificates(request, flaws))
    flaws += _flaws_of_file(request, certificates)
    stated = request.elevation_type != rules_pb2.ELEVATION_TYPE_UNSPECIFIED and not _flawed(flaws, "elevation_type")
    named = request.platform != rules_pb2.PLATFORM_UNSPECIFIED and not _flawed(flaws, "platform")
    if request.platform == rules_pb2.PLATFORM_UNSPECIFIED:
        flaws.append(Problem("platform", "is missing; say which platform the file is of"))
    return ProposalWanted(
        evidence=Evidence(
            file=_file(request.file),
            platform=decode_word(Platform, request.platform, "platform") if named else Platform.WINDOWS,
            publisher_fingerprint=request.file.publisher_fingerprint,
            certificates=certificates,
            arguments=tuple(request.arguments),
        ),
        wishes=Wishes(
            elevation_type=(
                decode_word(ElevationType, request.elevation_type, "elevation_type")
                if stated
                else ElevationType.USER_CONFIRMED
            ),
            same_path=request.same_path,
            same_arguments=request.same_arguments,
            by_publisher=request.by_publisher,
            rule_name=request.rule_name,
            origin=request.origin,
        ),
        policy=request.policy,
        flaws=tuple(flaws),
    )


def proposed_to_proto(proposed: ProposedPolicy) -> analysis_pb2.ProposeRuleResponse:
    """Write a rule in its policy, with what is to be known before it is saved."""
    about = proposed.existing.about if proposed.existing else None
    return analysis_pb2.ProposeRuleResponse(
        rule=encode_rule(proposed.rule),
        rules_policy=rules_policy_to_proto(proposed.content, about),
        findings=findings_to_proto(proposed.findings, most=MOST_FINDINGS),
        notes=proposed.notes,
        existing=[
            lint_pb2.RelatedObject(kind=subject.kind, name=subject.name, rule=subject.rule)
            for subject in proposed.recognised_by
        ],
    )


def _flawed(flaws: list[Problem], field: str) -> bool:
    return any(flaw.field == field for flaw in flaws)


def _certificates(request: analysis_pb2.ProposeRuleRequest, flaws: list[Problem]) -> Iterator[Certificate]:
    for number, der in enumerate(request.certificates):
        try:
            yield parse_der(der)
        except CertificateError as error:
            flaws.append(Problem(f"certificates[{number}]", f"{error}; give it as the agent saw it, or none"))


def _flaws_of_file(
    request: analysis_pb2.ProposeRuleRequest, certificates: tuple[Certificate, ...]
) -> Iterator[Problem]:
    file, fingerprint = request.file, request.file.publisher_fingerprint
    if not file.path:
        yield Problem("file.path", _MISSING)
    if fingerprint and is_sha256(fingerprint) is None:
        yield Problem("file.publisher_fingerprint", "is not a SHA-256; give 64 hexadecimal digits")
    elif fingerprint and certificates and fingerprint_of(certificates[0]) != fingerprint.lower():
        message = "is not the certificate of file.publisher_fingerprint; give the signing one first"
        yield Problem("certificates[0]", message)


def _file(facts: event_pb2.FileFacts) -> FileEvidence:
    return FileEvidence(
        path=facts.path,
        sha256=facts.sha256,
        version=facts.version,
        description=facts.description,
        product_name=facts.product_name,
        internal_name=facts.internal_name,
        company_name=facts.company_name,
    )
