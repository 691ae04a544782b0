"""Encode documents as the requests that carry them, one for each service."""

from collections.abc import Collection, Iterable, Iterator, MutableSequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from elevation.certificates import to_pem
from elevation.codec.rules import encode_platform, encode_rule
from elevation.codec.settings import encode_settings
from elevation.model import Assignments, Group, Include, LintIgnore, ReusableCertificate, RulesPolicy, SettingsPolicy
from elevation.words import FilterMode, GroupType, ReportingScope
from epm.device.v1 import groups_pb2
from epm.elevation.v1 import rules_pb2, settings_pb2
from epm.policy.v1 import analysis_pb2, policies_pb2
from epm.rbac.v1 import rbac_pb2
from epmctl.documents.model import (
    Document,
    Kind,
    Principal,
    PrincipalGroup,
    Role,
    RoleAssignment,
    ScopeTag,
    TrustedIssuer,
)
from epmctl.documents.places import line_of
from epmctl.errors import Flaw
from epmctl.plain import to_timestamp

_GROUP_TYPES: Final = {
    GroupType.DEVICE: groups_pb2.GROUP_TYPE_DEVICE,
    GroupType.USER: groups_pb2.GROUP_TYPE_USER,
}
_PENDING_TYPES: Final = {
    groups_pb2.GROUP_TYPE_DEVICE: policies_pb2.PENDING_GROUP_TYPE_DEVICE,
    groups_pb2.GROUP_TYPE_USER: policies_pb2.PENDING_GROUP_TYPE_USER,
}
_FILTER_MODES: Final = {
    FilterMode.INCLUDE: policies_pb2.FILTER_MODE_INCLUDE,
    FilterMode.EXCLUDE: policies_pb2.FILTER_MODE_EXCLUDE,
}
_KEPT: Final[dict[Kind, frozenset[str]]] = {
    Kind.ElevationSettingsPolicy: frozenset({"description", "scopeTags", "labels"}),
    Kind.ElevationRulesPolicy: frozenset({"description", "scopeTags", "labels"}),
    Kind.ReusableCertificate: frozenset({"description", "scopeTags", "labels"}),
    Kind.Group: frozenset({"description", "scopeTags"}),
    Kind.Role: frozenset({"description"}),
    Kind.ScopeTag: frozenset({"description"}),
    Kind.Principal: frozenset(),
    Kind.PrincipalGroup: frozenset(),
    Kind.RoleAssignment: frozenset(),
    Kind.TrustedIssuer: frozenset(),
}
_Entry = TypeVar(
    "_Entry",
    rbac_pb2.Role,
    rbac_pb2.Principal,
    rbac_pb2.PrincipalGroup,
    rbac_pb2.RoleAssignment,
    rbac_pb2.ScopeTag,
    rbac_pb2.TrustedIssuer,
    groups_pb2.Group,
)


@dataclass(frozen=True, slots=True)
class Requests:
    """What each service is asked to hold."""

    access: rbac_pb2.ApplyAccessRequest
    groups: groups_pb2.ApplyGroupsRequest
    policies: policies_pb2.ApplyPoliciesRequest


def to_requests(documents: Iterable[Document]) -> Requests:
    """Encode documents."""
    requests = Requests(
        rbac_pb2.ApplyAccessRequest(), groups_pb2.ApplyGroupsRequest(), policies_pb2.ApplyPoliciesRequest()
    )
    for document in documents:
        _add(document, requests)
    return requests


def pending_groups(request: groups_pb2.ApplyGroupsRequest) -> list[policies_pb2.PendingGroup]:
    """Name the groups of a request as ones that are about to exist."""
    return [
        policies_pb2.PendingGroup(
            name=group.name, type=_PENDING_TYPES[group.type], filter=group.filter, groups=group.groups
        )
        for group in request.groups
    ]


def to_draft(requests: Requests, *, unchanged: Collection[tuple[Kind, str]] = ()) -> analysis_pb2.Draft:
    """Give policies and groups as a draft to lay over what a server holds, those that stay as they are left out."""
    policies = requests.policies
    return analysis_pb2.Draft(
        reusable_certificates=[
            one
            for one in policies.reusable_certificates
            if (Kind.ReusableCertificate, one.metadata.name) not in unchanged
        ],
        settings_policies=[
            one
            for one in policies.settings_policies
            if (Kind.ElevationSettingsPolicy, one.metadata.name) not in unchanged
        ],
        rules_policies=[
            one for one in policies.rules_policies if (Kind.ElevationRulesPolicy, one.metadata.name) not in unchanged
        ],
        groups=[
            analysis_pb2.DraftGroup(
                name=one.name, type=_PENDING_TYPES[one.type], members=one.members, filter=one.filter, groups=one.groups
            )
            for one in requests.groups.groups
            if (Kind.Group, one.name) not in unchanged
        ],
    )


def changing(requests: Requests, unchanged: Collection[tuple[Kind, str]]) -> Requests:
    """Leave out of what rbac and device are asked what stays as it is, so that it needs no right.

    A service that would have nothing to do is asked nothing. The policy service is told of all: it remembers what is as code
    says.
    """
    access, groups = rbac_pb2.ApplyAccessRequest(), groups_pb2.ApplyGroupsRequest()
    access.CopyFrom(requests.access)
    groups.CopyFrom(requests.groups)
    left = (
        _leave_out(access.roles, Kind.Role, unchanged),
        _leave_out(access.principals, Kind.Principal, unchanged),
        _leave_out(access.principal_groups, Kind.PrincipalGroup, unchanged),
        _leave_out(access.role_assignments, Kind.RoleAssignment, unchanged),
        _leave_out(access.scope_tags, Kind.ScopeTag, unchanged),
        _leave_out(access.trusted_issuers, Kind.TrustedIssuer, unchanged),
    )
    if not any(left):
        access.Clear()
    if not _leave_out(groups.groups, Kind.Group, unchanged):
        groups.Clear()
    return Requests(access, groups, requests.policies)


def _leave_out(entries: MutableSequence[_Entry], kind: Kind, unchanged: Collection[tuple[Kind, str]]) -> int:
    """Take objects that stay as they are out of a request; return how many are left."""
    for number in reversed(range(len(entries))):
        if (kind, entries[number].name) in unchanged:
            del entries[number]
    return len(entries)


def not_kept(documents: Iterable[Document]) -> Iterator[Flaw]:
    """Say which metadata of which document no server keeps."""
    for document in documents:
        metadata = document.metadata
        given = {"description": metadata.description, "scopeTags": metadata.scope_tags, "labels": metadata.labels}
        for key, value in given.items():
            if value and key not in _KEPT[document.kind]:
                place = f"metadata.{key}"
                message = f"not applied: the server keeps none for a {document.kind.name}"
                yield Flaw(document.file, line_of(document.node, place), place, message)


def _add(document: Document, requests: Requests) -> None:
    match document.spec:
        case SettingsPolicy() as policy:
            requests.policies.settings_policies.append(_settings_policy(document, policy))
        case RulesPolicy() as policy:
            requests.policies.rules_policies.append(_rules_policy(document, policy))
        case ReusableCertificate() as reusable:
            pem = to_pem(reusable.certificate)
            message = policies_pb2.ReusableCertificate(
                metadata=_metadata(document), pem=pem, lint_ignores=_ignores(reusable.lint)
            )
            requests.policies.reusable_certificates.append(message)
        case Group() as group:
            requests.groups.groups.append(_group(document, group))
        case _:
            _add_access(document, requests.access)


def _add_access(document: Document, request: rbac_pb2.ApplyAccessRequest) -> None:
    name, description = document.name, document.metadata.description
    match document.spec:
        case Role(rights=rights):
            request.roles.append(rbac_pb2.Role(name=name, description=description, rights=rights))
        case Principal(endpoint_users=users):
            request.principals.append(rbac_pb2.Principal(name=name, endpoint_users=users))
        case PrincipalGroup(members=members):
            request.principal_groups.append(rbac_pb2.PrincipalGroup(name=name, members=members))
        case RoleAssignment() as assignment:
            request.role_assignments.append(_role_assignment(assignment))
        case ScopeTag():
            request.scope_tags.append(rbac_pb2.ScopeTag(name=name, description=description))
        case TrustedIssuer() as issuer:
            request.trusted_issuers.append(_trusted_issuer(issuer))


def _metadata(document: Document) -> policies_pb2.Metadata:
    metadata = document.metadata
    return policies_pb2.Metadata(
        name=metadata.name,
        description=metadata.description,
        scope_tags=metadata.scope_tags,
        labels=metadata.labels,
    )


def _settings_policy(document: Document, policy: SettingsPolicy) -> policies_pb2.SettingsPolicy:
    return policies_pb2.SettingsPolicy(
        metadata=_metadata(document),
        settings=_settings(policy),
        lint_ignores=_ignores(policy.lint),
        assignments=_assignments(policy.assignments),
    )


def _settings(policy: SettingsPolicy) -> settings_pb2.ElevationSettings:
    """Encode settings; a document may leave out the scope that the contract has stated where data is sent."""
    if policy.send_reporting_data and policy.reporting_scope is None:
        policy = replace(policy, reporting_scope=ReportingScope.ALL)
    return encode_settings(policy)


def _rules_policy(document: Document, policy: RulesPolicy) -> policies_pb2.RulesPolicy:
    return policies_pb2.RulesPolicy(
        metadata=_metadata(document),
        platform=encode_platform(policy.platform),
        rules=map(encode_rule, policy.rules),
        lint_ignores=_ignores(policy.lint),
        assignments=_assignments(policy.assignments),
    )


def _ignores(ignored: Iterable[LintIgnore]) -> list[rules_pb2.LintIgnore]:
    return [rules_pb2.LintIgnore(finding=entry.check, reason=entry.reason) for entry in ignored]


def _assignments(assignments: Assignments) -> policies_pb2.Assignments:
    return policies_pb2.Assignments(
        include=map(_included, assignments.include),
        exclude=[policies_pb2.ExcludedGroup(group=excluded.group) for excluded in assignments.exclude],
    )


def _included(include: Include) -> policies_pb2.IncludedGroup:
    mode = _FILTER_MODES[include.filter_mode] if include.filter else policies_pb2.FILTER_MODE_UNSPECIFIED
    return policies_pb2.IncludedGroup(group=include.group, filter=include.filter, filter_mode=mode)


def _group(document: Document, group: Group) -> groups_pb2.Group:
    return groups_pb2.Group(
        name=group.name,
        description=group.description,
        type=_GROUP_TYPES[group.type],
        members=group.members,
        filter=group.filter,
        scope_tags=document.metadata.scope_tags,
        groups=group.groups,
    )


def _role_assignment(assignment: RoleAssignment) -> rbac_pb2.RoleAssignment:
    return rbac_pb2.RoleAssignment(
        name=assignment.name,
        role=assignment.role,
        members=assignment.members,
        scope_groups=assignment.scope_groups,
        scope_tags=assignment.scope_tags,
        expires=to_timestamp(assignment.expires),
    )


def _trusted_issuer(issuer: TrustedIssuer) -> rbac_pb2.TrustedIssuer:
    message = rbac_pb2.TrustedIssuer(
        name=issuer.name,
        issuer=issuer.issuer,
        audiences=issuer.audiences,
        principal_claim=issuer.principal_claim,
        principal_prefix=issuer.principal_prefix,
        groups_claim=issuer.groups_claim,
        group_mappings=[
            rbac_pb2.GroupMapping(claim_value=mapping.claim_value, principal_group=mapping.principal_group)
            for mapping in issuer.group_mappings
        ],
        client_id=issuer.client_id,
    )
    if issuer.jwks:
        message.jwks = issuer.jwks
    elif issuer.jwks_uri:
        message.jwks_uri = issuer.jwks_uri
    return message
