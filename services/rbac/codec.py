"""Access objects to the contract and back."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

from epm.access.v1 import access_pb2
from epm.rbac.v1 import rbac_pb2
from services._chassis.errors import InvalidError, Problem
from services._chassis.expected import Expected
from services._chassis.times import time_to_proto
from services.rbac.model.documents import etag_of, kind_of
from services.rbac.model.issuers import GroupMapping, TrustedIssuer
from services.rbac.model.nouns import AccessObject, Principal, PrincipalGroup, Role, RoleAssignment, ScopeTag, Token
from services.rbac.usecases import Action, Applied

MOST_USES = 1000
LONGEST_TOKEN_ID = 128
_ACTIONS = {
    Action.CREATED: rbac_pb2.APPLY_ACTION_CREATED,
    Action.UPDATED: rbac_pb2.APPLY_ACTION_UPDATED,
    Action.UNCHANGED: rbac_pb2.APPLY_ACTION_UNCHANGED,
}


def objects_from_proto(request: rbac_pb2.ApplyAccessRequest) -> Sequence[AccessObject]:
    """Read the objects of a request, in the order of its fields, issuers and principals last. Raises InvalidError for bad times."""
    problems = [
        problem
        for index, assignment in enumerate(request.role_assignments)
        for problem in _time_problems(f"role_assignments[{index}].expires", assignment)
    ]
    if problems:
        raise InvalidError(problems)
    return [
        *(Role(role.name, role.description, frozenset(role.rights)) for role in request.roles),
        *(PrincipalGroup(group.name, frozenset(group.members)) for group in request.principal_groups),
        *(_assignment_from_proto(assignment) for assignment in request.role_assignments),
        *(ScopeTag(tag.name, tag.description) for tag in request.scope_tags),
        *(_issuer_from_proto(issuer) for issuer in request.trusted_issuers),
        *(Principal(record.name, frozenset(record.endpoint_users)) for record in request.principals),
    ]


def expected_from_proto(request: rbac_pb2.ApplyAccessRequest) -> list[Expected]:
    """Read which objects have to be as they were."""
    return [Expected(entry.kind, entry.name, entry.etag) for entry in request.expected]


def applied_to_proto(applied: Applied) -> rbac_pb2.ApplyAccessResponse:
    """Write what became of applied objects."""
    objects = [
        rbac_pb2.AppliedObject(kind=kind_of(item).name, name=item.name, action=_ACTIONS[action])
        for item, action in applied.actions
    ]
    return rbac_pb2.ApplyAccessResponse(objects=objects, revision=applied.revision)


def role_to_proto(role: Role) -> rbac_pb2.Role:
    """Write a role."""
    return rbac_pb2.Role(
        name=role.name,
        description=role.description,
        rights=sorted(role.rights),
        built_in=role.built_in,
        etag=etag_of(role),
    )


def principal_to_proto(record: Principal) -> rbac_pb2.Principal:
    """Write a principal record."""
    return rbac_pb2.Principal(name=record.name, endpoint_users=sorted(record.endpoint_users), etag=etag_of(record))


def group_to_proto(group: PrincipalGroup) -> rbac_pb2.PrincipalGroup:
    """Write a principal group."""
    return rbac_pb2.PrincipalGroup(name=group.name, members=sorted(group.members), etag=etag_of(group))


def assignment_to_proto(assignment: RoleAssignment) -> rbac_pb2.RoleAssignment:
    """Write a role assignment."""
    return rbac_pb2.RoleAssignment(
        name=assignment.name,
        role=assignment.role,
        members=sorted(assignment.members),
        scope_groups=sorted(assignment.scope_groups),
        scope_tags=sorted(assignment.scope_tags),
        expires=time_to_proto(assignment.expires),
        etag=etag_of(assignment),
    )


def tag_to_proto(tag: ScopeTag) -> rbac_pb2.ScopeTag:
    """Write a scope tag."""
    return rbac_pb2.ScopeTag(name=tag.name, description=tag.description, etag=etag_of(tag))


def issuer_to_proto(issuer: TrustedIssuer) -> rbac_pb2.TrustedIssuer:
    """Write a trusted issuer."""
    keys = {"jwks": issuer.jwks} if issuer.jwks else {"jwks_uri": issuer.jwks_uri} if issuer.jwks_uri else {}
    return rbac_pb2.TrustedIssuer(
        name=issuer.name,
        issuer=issuer.issuer,
        audiences=issuer.audiences,
        **keys,
        principal_claim=issuer.principal_claim,
        principal_prefix=issuer.principal_prefix,
        groups_claim=issuer.groups_claim,
        group_mappings=[
            rbac_pb2.GroupMapping(claim_value=mapping.claim_value, principal_group=mapping.principal_group)
            for mapping in issuer.group_mappings
        ],
        client_id=issuer.client_id,
        etag=etag_of(issuer),
    )


def login_option_to_proto(issuer: TrustedIssuer) -> rbac_pb2.LoginOption:
    """Write how to log in at an issuer: what anybody may know of it."""
    return rbac_pb2.LoginOption(
        name=issuer.name, issuer=issuer.issuer, client_id=issuer.client_id, audience=issuer.audiences[0]
    )


def token_to_proto(token: Token, last_used: datetime | None = None) -> rbac_pb2.Token:
    """Write a token, and when it was last shown; its digest stays here."""
    return rbac_pb2.Token(
        token_id=token.token_id,
        principal=token.principal,
        description=token.description,
        created=time_to_proto(token.created),
        expires=time_to_proto(token.expires),
        revoked=time_to_proto(token.revoked),
        last_used=time_to_proto(last_used),
    )


def uses_from_proto(request: access_pb2.ReportTokenUseRequest) -> Mapping[str, datetime]:
    """Read when tokens were shown. Raises InvalidError for too many, and for what is no token or no time."""
    if len(request.uses) > MOST_USES:
        raise InvalidError([Problem("uses", f"must be at most {MOST_USES}; send them in parts")])
    problems = [problem for index, use in enumerate(request.uses) for problem in _use_problems(f"uses[{index}]", use)]
    if problems:
        raise InvalidError(problems)
    return {use.token_id: use.used.ToDatetime(tzinfo=UTC) for use in request.uses}


def _use_problems(path: str, use: access_pb2.TokenUse) -> Iterator[Problem]:
    if not 0 < len(use.token_id) <= LONGEST_TOKEN_ID:
        yield Problem(f"{path}.token_id", f"must be 1 to {LONGEST_TOKEN_ID} characters")
    if not use.HasField("used"):
        yield Problem(f"{path}.used", "is missing")
    try:
        use.used.ToDatetime(tzinfo=UTC)
    except ValueError:
        yield Problem(f"{path}.used", "is no time between the years 1 and 9999")


def time_from_proto(message: rbac_pb2.IssueTokenRequest | rbac_pb2.RoleAssignment) -> datetime | None:
    """Read the end of a token or an assignment; absent means none was given. Raises InvalidError for a bad time."""
    if problems := list(_time_problems("expires", message)):
        raise InvalidError(problems)
    return message.expires.ToDatetime(tzinfo=UTC) if message.HasField("expires") else None


def _time_problems(path: str, message: rbac_pb2.IssueTokenRequest | rbac_pb2.RoleAssignment) -> Iterator[Problem]:
    try:
        message.expires.ToDatetime(tzinfo=UTC)
    except ValueError:
        yield Problem(path, "is no time between the years 1 and 9999")


def _assignment_from_proto(message: rbac_pb2.RoleAssignment) -> RoleAssignment:
    return RoleAssignment(
        name=message.name,
        role=message.role,
        members=frozenset(message.members),
        scope_groups=frozenset(message.scope_groups),
        scope_tags=frozenset(message.scope_tags),
        expires=time_from_proto(message),
    )


def _issuer_from_proto(message: rbac_pb2.TrustedIssuer) -> TrustedIssuer:
    return TrustedIssuer(
        name=message.name,
        issuer=message.issuer,
        audiences=tuple(message.audiences),
        jwks_uri=message.jwks_uri,
        jwks=message.jwks,
        principal_claim=message.principal_claim,
        principal_prefix=message.principal_prefix,
        groups_claim=message.groups_claim,
        group_mappings=tuple(
            GroupMapping(mapping.claim_value, mapping.principal_group) for mapping in message.group_mappings
        ),
        client_id=message.client_id,
    )
