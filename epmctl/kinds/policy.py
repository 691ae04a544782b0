"""Policies, certificates, and how far they have come."""

from collections.abc import Mapping, Sequence
from typing import Final, cast

from epm.policy.v1 import policies_pb2, policies_pb2_grpc
from epmctl.client import Client
from epmctl.documents.model import Kind
from epmctl.kinds.model import Column, ListPage, Narrowing, ObjectKind, at, count_at, time_at
from epmctl.output import Plain, Record

EVERYTHING: Final = Narrowing()
_A_PAGE: Final = 25
"""Rules policies and certificates are large: a page of them has to fit into one message."""


def _assigned(record: Record) -> Plain:
    assignments = cast("Mapping[str, Sequence[Record]]", record["assignments"] or {})
    included = [cast("str", entry["group"]) for entry in assignments.get("include", ())]
    return [*included, *(f"not {entry['group']}" for entry in assignments.get("exclude", ()))]


def _policies(client: Client) -> policies_pb2_grpc.PolicyServiceStub:
    return policies_pb2_grpc.PolicyServiceStub(client.channel)


def _settings_policies(wanted: Narrowing) -> ListPage:
    return lambda client, size, token: client.call(
        _policies(client).ListSettingsPolicies,
        policies_pb2.ListSettingsPoliciesRequest(
            page_size=size, page_token=token, filter=wanted.filter, order_by=wanted.order_by
        ),
    )


def _rules_policies(wanted: Narrowing) -> ListPage:
    return lambda client, size, token: client.call(
        _policies(client).ListRulesPolicies,
        policies_pb2.ListRulesPoliciesRequest(
            page_size=size, page_token=token, filter=wanted.filter, order_by=wanted.order_by
        ),
    )


def _reusable_certificates(wanted: Narrowing) -> ListPage:
    return lambda client, size, token: client.call(
        _policies(client).ListReusableCertificates,
        policies_pb2.ListReusableCertificatesRequest(
            page_size=size, page_token=token, filter=wanted.filter, order_by=wanted.order_by
        ),
    )


_POLICY_ENDS: Final[Mapping[str, Column]] = {
    "ASSIGNED TO": _assigned,
    "SCOPE TAGS": at("metadata.scopeTags"),
    "REVISION": at("metadata.revision"),
    "UPDATED": time_at("metadata.updated"),
}

POLICY_KINDS: Final = (
    ObjectKind(
        name="settings-policies",
        singular="settings-policy",
        document=Kind.ElevationSettingsPolicy,
        columns={
            "NAME": at("metadata.name"),
            "ENABLED": at("settings.enabled"),
            "DEFAULT RESPONSE": at("settings.defaultResponse"),
            "REPORTING": at("settings.reportingScope"),
            **_POLICY_ENDS,
        },
        page=_settings_policies(EVERYTHING),
        narrow=_settings_policies,
        find=lambda client, name: client.call(
            _policies(client).GetSettingsPolicy, policies_pb2.GetSettingsPolicyRequest(name=name)
        ),
    ),
    ObjectKind(
        name="rules-policies",
        singular="rules-policy",
        document=Kind.ElevationRulesPolicy,
        columns={
            "NAME": at("metadata.name"),
            "PLATFORM": at("platform"),
            "RULES": count_at("rules"),
            **_POLICY_ENDS,
        },
        page=_rules_policies(EVERYTHING),
        narrow=_rules_policies,
        find=lambda client, name: client.call(
            _policies(client).GetRulesPolicy, policies_pb2.GetRulesPolicyRequest(name=name)
        ),
        page_size=_A_PAGE,
    ),
    ObjectKind(
        name="certificates",
        singular="certificate",
        document=Kind.ReusableCertificate,
        columns={
            "NAME": at("metadata.name"),
            "DESCRIPTION": at("metadata.description"),
            "SUBJECT": at("subject"),
            "VALID UNTIL": time_at("notAfter"),
            "SCOPE TAGS": at("metadata.scopeTags"),
            "REVISION": at("metadata.revision"),
            "UPDATED": time_at("metadata.updated"),
        },
        page=_reusable_certificates(EVERYTHING),
        narrow=_reusable_certificates,
        find=lambda client, name: client.call(
            _policies(client).GetReusableCertificate, policies_pb2.GetReusableCertificateRequest(name=name)
        ),
        page_size=_A_PAGE,
    ),
    ObjectKind(
        name="device-policy-states",
        singular="device-policy-state",
        key="deviceName",
        columns={
            "DEVICE": at("deviceName"),
            "STATE": at("state"),
            "CONNECTED": at("connected"),
            "OFFERED": at("offeredRevision"),
            "APPLIED": at("appliedRevision"),
            "CONFIRMED": time_at("confirmed"),
            "OFFLINE SINCE": time_at("offlineSince"),
            "STALE": at("stale"),
            "CONFLICTS": count_at("conflicts"),
            "REJECTIONS": at("rejections"),
        },
        page=lambda client, size, token: client.call(
            _policies(client).ListDevicePolicyStates,
            policies_pb2.ListDevicePolicyStatesRequest(page_size=size, page_token=token),
        ),
    ),
)
