"""Rules and certificates."""

from collections.abc import Iterable

from elevation.certificates import CertificateError, parse_pem, to_pem
from elevation.codec.strict import CodecError
from elevation.codec.words import decode_word, encode_word
from elevation.model import (
    Certificate,
    CertificateCondition,
    CertificateType,
    ChildProcesses,
    Detection,
    ElevationType,
    LintIgnore,
    Platform,
    Rule,
    Validation,
)
from epm.elevation.v1 import rules_pb2


def encode_platform(platform: Platform) -> rules_pb2.Platform.ValueType:
    """Encode a platform."""
    return rules_pb2.Platform.ValueType(encode_word(platform))


def decode_platform(number: int, path: str = "platform") -> Platform:
    """Decode a platform; raise CodecError where it is not stated."""
    return decode_word(Platform, number, path)


def encode_validations(validations: Iterable[Validation]) -> list[rules_pb2.Validation.ValueType]:
    """Encode what a user owes, in the order of the contract."""
    return sorted(rules_pb2.Validation.ValueType(encode_word(validation)) for validation in validations)


def decode_validations(numbers: Iterable[int], path: str) -> frozenset[Validation]:
    """Decode what a user owes."""
    return frozenset(decode_word(Validation, number, f"{path}[{at}]") for at, number in enumerate(numbers))


def encode_rule(rule: Rule) -> rules_pb2.Rule:
    """Encode a rule."""
    return rules_pb2.Rule(
        name=rule.name,
        description=rule.description,
        elevation_type=rules_pb2.ElevationType.ValueType(encode_word(rule.elevation_type)),
        validations=encode_validations(rule.validations),
        child_processes=rules_pb2.ChildProcesses.ValueType(
            encode_word(rule.child_processes) if rule.child_processes is not None else 0
        ),
        detection=encode_detection(rule.detection),
        arguments=None if rule.arguments is None else rules_pb2.ArgumentList(command_lines=rule.arguments),
        lint_ignores=[rules_pb2.LintIgnore(finding=ignored.check, reason=ignored.reason) for ignored in rule.lint],
    )


def decode_rule(message: rules_pb2.Rule, path: str = "rule") -> Rule:
    """Decode a rule; raise CodecError for what has no meaning."""
    stated = message.child_processes != rules_pb2.CHILD_PROCESSES_UNSPECIFIED
    return Rule(
        name=message.name,
        description=message.description,
        elevation_type=decode_word(ElevationType, message.elevation_type, f"{path}.elevationType"),
        validations=decode_validations(message.validations, f"{path}.validations"),
        child_processes=(
            decode_word(ChildProcesses, message.child_processes, f"{path}.childProcesses") if stated else None
        ),
        detection=decode_detection(message.detection, f"{path}.detection"),
        arguments=tuple(message.arguments.command_lines) if message.HasField("arguments") else None,
        lint=tuple(LintIgnore(ignored.finding, ignored.reason) for ignored in message.lint_ignores),
    )


def encode_detection(detection: Detection) -> rules_pb2.Detection:
    """Encode how a file is recognised."""
    condition = detection.certificate
    return rules_pb2.Detection(
        file_name=detection.file_name,
        file_path=detection.file_path,
        file_hash=detection.file_hash,
        certificate=None if condition is None else _encode_condition(condition),
        minimum_version=detection.minimum_version,
        file_description=detection.file_description,
        product_name=detection.product_name,
        internal_name=detection.internal_name,
    )


def decode_detection(message: rules_pb2.Detection, path: str) -> Detection:
    """Decode how a file is recognised."""
    has_condition = message.HasField("certificate")
    return Detection(
        file_name=message.file_name,
        file_path=message.file_path,
        file_hash=message.file_hash,
        certificate=_decode_condition(message.certificate, f"{path}.certificate") if has_condition else None,
        minimum_version=message.minimum_version,
        file_description=message.file_description,
        product_name=message.product_name,
        internal_name=message.internal_name,
    )


def decode_pem(text: str, path: str) -> Certificate:
    """Read a PEM certificate of a message; raise CodecError with its place."""
    try:
        return parse_pem(text)
    except CertificateError as error:
        raise CodecError(path, str(error)) from error


def _encode_condition(condition: CertificateCondition) -> rules_pb2.CertificateCondition:
    number = 0 if condition.type is None else encode_word(condition.type)
    message = rules_pb2.CertificateCondition(type=rules_pb2.CertificateType.ValueType(number))
    if condition.certificate is not None:
        message.pem = to_pem(condition.certificate)
    elif condition.reusable:
        message.reusable = condition.reusable
    return message


def _decode_condition(message: rules_pb2.CertificateCondition, path: str) -> CertificateCondition:
    stated = message.type != rules_pb2.CERTIFICATE_TYPE_UNSPECIFIED
    return CertificateCondition(
        type=decode_word(CertificateType, message.type, f"{path}.type") if stated else None,
        certificate=decode_pem(message.pem, f"{path}.pem") if message.WhichOneof("source") == "pem" else None,
        reusable=message.reusable,
    )
