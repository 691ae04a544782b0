"""Roles and what goes with them, and administrators' tokens."""

from typing import Final

from epm.rbac.v1 import rbac_pb2, rbac_pb2_grpc
from epmctl.client import Client
from epmctl.documents.model import Kind
from epmctl.kinds.model import ObjectKind, at, count_at, time_at


def _rbac(client: Client) -> rbac_pb2_grpc.RbacServiceStub:
    return rbac_pb2_grpc.RbacServiceStub(client.channel)


ACCESS_KINDS: Final = (
    ObjectKind(
        name="roles",
        singular="role",
        document=Kind.Role,
        columns={
            "NAME": at("name"),
            "BUILT IN": at("builtIn"),
            "RIGHTS": count_at("rights"),
            "DESCRIPTION": at("description"),
        },
        page=lambda client, size, token: client.call(
            _rbac(client).ListRoles, rbac_pb2.ListRolesRequest(page_size=size, page_token=token)
        ),
    ),
    ObjectKind(
        name="role-assignments",
        singular="role-assignment",
        document=Kind.RoleAssignment,
        columns={
            "NAME": at("name"),
            "ROLE": at("role"),
            "MEMBERS": at("members"),
            "SCOPE GROUPS": at("scopeGroups"),
            "SCOPE TAGS": at("scopeTags"),
            "EXPIRES": time_at("expires"),
        },
        page=lambda client, size, token: client.call(
            _rbac(client).ListRoleAssignments,
            rbac_pb2.ListRoleAssignmentsRequest(page_size=size, page_token=token),
        ),
    ),
    ObjectKind(
        name="principals",
        singular="principal",
        document=Kind.Principal,
        columns={"NAME": at("name"), "ENDPOINT USERS": at("endpointUsers")},
        page=lambda client, size, token: client.call(
            _rbac(client).ListPrincipals, rbac_pb2.ListPrincipalsRequest(page_size=size, page_token=token)
        ),
    ),
    ObjectKind(
        name="principal-groups",
        singular="principal-group",
        document=Kind.PrincipalGroup,
        columns={"NAME": at("name"), "MEMBERS": at("members")},
        page=lambda client, size, token: client.call(
            _rbac(client).ListPrincipalGroups,
            rbac_pb2.ListPrincipalGroupsRequest(page_size=size, page_token=token),
        ),
    ),
    ObjectKind(
        name="scope-tags",
        singular="scope-tag",
        document=Kind.ScopeTag,
        columns={"NAME": at("name"), "DESCRIPTION": at("description")},
        page=lambda client, size, token: client.call(
            _rbac(client).ListScopeTags, rbac_pb2.ListScopeTagsRequest(page_size=size, page_token=token)
        ),
    ),
    ObjectKind(
        name="trusted-issuers",
        singular="trusted-issuer",
        document=Kind.TrustedIssuer,
        columns={
            "NAME": at("name"),
            "ISSUER": at("issuer"),
            "AUDIENCES": at("audiences"),
            "PREFIX": at("principalPrefix"),
            "GROUPS": count_at("groupMappings"),
            "CLIENT": at("clientId"),
        },
        page=lambda client, size, token: client.call(
            _rbac(client).ListTrustedIssuers,
            rbac_pb2.ListTrustedIssuersRequest(page_size=size, page_token=token),
        ),
        page_size=25,  # each may hold a whole key set
    ),
    ObjectKind(
        name="tokens",
        singular="token",
        key="tokenId",
        columns={
            "ID": at("tokenId"),
            "PRINCIPAL": at("principal"),
            "CREATED": time_at("created"),
            "EXPIRES": time_at("expires"),
            "LAST USED": time_at("lastUsed"),
            "REVOKED": time_at("revoked"),
            "DESCRIPTION": at("description"),
        },
        page=lambda client, size, token: client.call(
            _rbac(client).ListTokens, rbac_pb2.ListTokensRequest(page_size=size, page_token=token)
        ),
    ),
)
