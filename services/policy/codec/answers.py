"""Answers of calls that write: which objects they are about, and what lint finds there."""

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar, cast

from google.protobuf.message import Message

from elevation.lint.findings import Finding, Subject
from elevation.lint.subjects import CERTIFICATE, RULES, SETTINGS
from epm.policy.v1 import policies_pb2
from services.policy.codec.findings import findings_to_proto
from services.policy.model import application
from services.policy.model.findings import MOST_FINDINGS

Answer = TypeVar("Answer", bound=Message)

_KINDS = {
    policies_pb2.SettingsPolicy: SETTINGS,
    policies_pb2.RulesPolicy: RULES,
    policies_pb2.ReusableCertificate: CERTIFICATE,
}


class _Telling(Protocol):
    findings: list[Message]


def subjects_of(answer: Message) -> frozenset[Subject]:
    """Return the objects that are there after the call of which this is the answer."""
    if isinstance(answer, policies_pb2.ApplyPoliciesResponse):
        left = (each for each in answer.objects if each.action != policies_pb2.APPLY_ACTION_DELETED)
        return frozenset(Subject(each.kind, each.name) for each in left)
    return frozenset(_subject(value) for field, value in answer.ListFields() if field.name != "findings")


def with_findings(answer: Answer, findings: Sequence[Finding]) -> Answer:
    """Return the answer with what lint finds, the worst first, as much as it holds."""
    most = application.MOST_FINDINGS if isinstance(answer, policies_pb2.ApplyPoliciesResponse) else MOST_FINDINGS
    told = type(answer)()
    told.CopyFrom(answer)
    cast("_Telling", told).findings.extend(findings_to_proto(findings, most=most))
    return told


def _subject(value: Any) -> Subject:
    if isinstance(value, policies_pb2.AuthoredObject):
        value = getattr(value, value.WhichOneof("object") or "")
    return Subject(_KINDS[type(value)], value.metadata.name)
