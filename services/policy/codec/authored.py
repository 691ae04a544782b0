"""Authored objects to the contract."""

from dataclasses import replace

from elevation.certificates import to_pem
from elevation.codec.rules import encode_platform, encode_rule
from elevation.codec.settings import encode_settings
from elevation.model import (
    Assignments,
    Certificate,
    FilterMode,
    Include,
    ReportingScope,
    ReusableCertificate,
    RulesPolicy,
    SettingsPolicy,
)
from epm.policy.v1 import policies_pb2
from services._chassis.times import time_to_proto
from services.policy.codec.findings import ignores_to_proto
from services.policy.model.certificates import fingerprint_of
from services.policy.model.conflicts import SettingsConflict
from services.policy.model.objects import About, AnyContent
from services.policy.model.states import DeliveryState, DevicePolicyState

_FILTER_MODES = {
    FilterMode.INCLUDE: policies_pb2.FILTER_MODE_INCLUDE,
    FilterMode.EXCLUDE: policies_pb2.FILTER_MODE_EXCLUDE,
}
_STATES = {
    DeliveryState.PENDING: policies_pb2.DELIVERY_STATE_PENDING,
    DeliveryState.OFFERED: policies_pb2.DELIVERY_STATE_OFFERED,
    DeliveryState.APPLIED: policies_pb2.DELIVERY_STATE_APPLIED,
    DeliveryState.REJECTED: policies_pb2.DELIVERY_STATE_REJECTED,
}


def settings_policy_to_proto(content: SettingsPolicy, about: About | None = None) -> policies_pb2.SettingsPolicy:
    """Write a settings policy, with what is known about it where that is asked for."""
    return policies_pb2.SettingsPolicy(
        metadata=_metadata(content, about),
        settings=encode_settings(_with_scope(content)),
        assignments=_assignments(content.assignments),
        lint_ignores=ignores_to_proto(content.lint),
    )


def rules_policy_to_proto(content: RulesPolicy, about: About | None = None) -> policies_pb2.RulesPolicy:
    """Write a rules policy, with what is known about it where that is asked for."""
    return policies_pb2.RulesPolicy(
        metadata=_metadata(content, about),
        platform=encode_platform(content.platform),
        rules=[encode_rule(rule) for rule in content.rules],
        assignments=_assignments(content.assignments),
        lint_ignores=ignores_to_proto(content.lint),
    )


def certificate_to_proto(content: ReusableCertificate, about: About | None = None) -> policies_pb2.ReusableCertificate:
    """Write a reusable certificate, with what is known about it where that is asked for, and what it says itself."""
    message = policies_pb2.ReusableCertificate(
        metadata=_metadata(content, about),
        pem=to_pem(content.certificate),
        lint_ignores=ignores_to_proto(content.lint),
    )
    if about is not None:
        message.MergeFrom(_facts(content.certificate))
    return message


def object_to_proto(content: AnyContent, about: About) -> policies_pb2.AuthoredObject:
    """Write an object of any kind, with what is known about it."""
    match content:
        case SettingsPolicy():
            return policies_pb2.AuthoredObject(settings_policy=settings_policy_to_proto(content, about))
        case RulesPolicy():
            return policies_pb2.AuthoredObject(rules_policy=rules_policy_to_proto(content, about))
        case ReusableCertificate():
            return policies_pb2.AuthoredObject(reusable_certificate=certificate_to_proto(content, about))


def state_to_proto(state: DevicePolicyState) -> policies_pb2.DevicePolicyState:
    """Write how far the policy of a device has come."""
    return policies_pb2.DevicePolicyState(
        device_id=state.device_id,
        device_name=state.device_name,
        state=_STATES[state.state],
        offered_revision=state.offered_revision,
        applied_revision=state.applied_revision,
        confirmed=time_to_proto(state.confirmed),
        rejections=state.rejections,
        policy_key_ids=state.key_ids,
        document_sha256=state.sha256,
        connected=state.connected,
        offline_since=time_to_proto(state.offline_since),
        stale=state.stale,
        conflicts=map(_conflict, state.conflicts),
    )


def _conflict(conflict: SettingsConflict) -> policies_pb2.SettingsConflict:
    values = [policies_pb2.ConflictingValue(policy=said.policy, value=said.value) for said in conflict.values]
    return policies_pb2.SettingsConflict(
        user=conflict.user, setting=conflict.setting, values=values, effective=conflict.effective
    )


def _with_scope(content: SettingsPolicy) -> SettingsPolicy:
    """Say the scope that a policy leaves open, as the contract wants it where data is sent."""
    if content.send_reporting_data and content.reporting_scope is None:
        return replace(content, reporting_scope=ReportingScope.ALL)
    return content


def _facts(certificate: Certificate) -> policies_pb2.ReusableCertificate:
    return policies_pb2.ReusableCertificate(
        subject=certificate.subject,
        issuer=certificate.issuer,
        fingerprint=fingerprint_of(certificate),
        not_before=time_to_proto(certificate.not_before),
        not_after=time_to_proto(certificate.not_after),
    )


def _metadata(content: AnyContent, about: About | None) -> policies_pb2.Metadata:
    if about is None:
        return policies_pb2.Metadata(name=content.name, description=content.description)
    return policies_pb2.Metadata(
        name=content.name,
        description=content.description,
        scope_tags=sorted(about.scope_tags),
        labels=dict(about.labels),
        revision=about.revision,
        etag=about.etag,
        created=time_to_proto(about.created),
        updated=time_to_proto(about.updated),
        updated_by=about.updated_by,
        change=about.change,
        applied_change=about.applied_change,
        created_by=about.created_by,
    )


def _assignments(assignments: Assignments) -> policies_pb2.Assignments:
    return policies_pb2.Assignments(
        include=[_include(target) for target in assignments.include],
        exclude=[policies_pb2.ExcludedGroup(group=target.group) for target in assignments.exclude],
    )


def _include(target: Include) -> policies_pb2.IncludedGroup:
    message = policies_pb2.IncludedGroup(group=target.group, filter=target.filter)
    if target.filter:
        message.filter_mode = _FILTER_MODES[target.filter_mode]
    return message
