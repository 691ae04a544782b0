"""The fixed words of the kernel and of the contracts: the same names, with the prefix of the enum in the contracts.

Encoding cannot fail: a test holds both vocabularies together. Decoding UNSPECIFIED raises CodecError unless the caller
says what its absence means.
"""

from enum import Enum
from typing import TypeVar

from google.protobuf.descriptor import EnumDescriptor

from elevation.codec.strict import CodecError
from elevation.words import (
    CertificateType,
    ChildProcesses,
    DefaultResponse,
    ElevationType,
    LostAt,
    Outcome,
    Platform,
    ReportingScope,
    Source,
    Trigger,
    Validation,
)
from epm.elevation.v1 import event_pb2, rules_pb2, settings_pb2

E = TypeVar("E", bound=Enum)

_VOCABULARIES: dict[type[Enum], tuple[str, EnumDescriptor]] = {
    Platform: ("PLATFORM_", rules_pb2.Platform.DESCRIPTOR),
    ElevationType: ("ELEVATION_TYPE_", rules_pb2.ElevationType.DESCRIPTOR),
    Validation: ("VALIDATION_", rules_pb2.Validation.DESCRIPTOR),
    ChildProcesses: ("CHILD_PROCESSES_", rules_pb2.ChildProcesses.DESCRIPTOR),
    CertificateType: ("CERTIFICATE_TYPE_", rules_pb2.CertificateType.DESCRIPTOR),
    DefaultResponse: ("DEFAULT_RESPONSE_", settings_pb2.DefaultResponse.DESCRIPTOR),
    ReportingScope: ("REPORTING_SCOPE_", settings_pb2.ReportingScope.DESCRIPTOR),
    Trigger: ("TRIGGER_", event_pb2.Trigger.DESCRIPTOR),
    Outcome: ("OUTCOME_", event_pb2.Outcome.DESCRIPTOR),
    Source: ("SOURCE_", event_pb2.Source.DESCRIPTOR),
    LostAt: ("LOST_AT_", event_pb2.LostAt.DESCRIPTOR),
}


def encode_word(word: Enum) -> int:
    """Give the number of a word in the contracts."""
    prefix, vocabulary = _VOCABULARIES[type(word)]
    return vocabulary.values_by_name[prefix + word.name].number


def decode_word(kind: type[E], number: int, path: str) -> E:
    """Find the word of a number; raise CodecError for UNSPECIFIED and for numbers that mean nothing."""
    prefix, vocabulary = _VOCABULARIES[kind]
    value = vocabulary.values_by_number.get(number)
    name = "" if value is None else value.name.removeprefix(prefix)
    if name not in kind.__members__:
        raise CodecError(path, f"holds no {kind.__name__} (value {number})")
    return kind[name]
