"""Objects as plain documents, for the audit record and for naming their kinds."""

from dataclasses import dataclass

from services._chassis import expected
from services.rbac.model.issuers import TrustedIssuer
from services.rbac.model.nouns import AccessObject, Principal, PrincipalGroup, Role, RoleAssignment, ScopeTag, Token


@dataclass(frozen=True, slots=True)
class Kind:
    """Spell a kind of object as documents do, and as events do."""

    name: str
    snake: str


_KINDS: dict[type[AccessObject], Kind] = {
    Role: Kind("Role", "role"),
    Principal: Kind("Principal", "principal"),
    PrincipalGroup: Kind("PrincipalGroup", "principal_group"),
    RoleAssignment: Kind("RoleAssignment", "role_assignment"),
    ScopeTag: Kind("ScopeTag", "scope_tag"),
    TrustedIssuer: Kind("TrustedIssuer", "trusted_issuer"),
}


KINDS: tuple[str, ...] = tuple(kind.name for kind in _KINDS.values())
"""The kinds of objects, as documents spell them."""


def kind_of(item: AccessObject) -> Kind:
    """Return the kind of an object."""
    return _KINDS[type(item)]


def etag_of(item: AccessObject) -> str:
    """Return what changes with every change of an object's content."""
    return expected.etag_of({"kind": kind_of(item).name, **document_of(item)})


def document_of(item: AccessObject) -> dict[str, object]:
    """Return an object as a plain document with sorted lists."""
    match item:
        case Role():
            return {"name": item.name, "description": item.description, "rights": sorted(item.rights)}
        case Principal():
            return {"name": item.name, "endpointUsers": sorted(item.endpoint_users)}
        case PrincipalGroup():
            return {"name": item.name, "members": sorted(item.members)}
        case RoleAssignment():
            return {
                "name": item.name,
                "role": item.role,
                "members": sorted(item.members),
                "scopeGroups": sorted(item.scope_groups),
                "scopeTags": sorted(item.scope_tags),
                "expires": item.expires.isoformat() if item.expires else None,
            }
        case ScopeTag():
            return {"name": item.name, "description": item.description}
        case TrustedIssuer():
            return _issuer_document(item)


def document_of_token(token: Token) -> dict[str, object]:
    """Return a token as a plain document, without its digest."""
    return {
        "principal": token.principal,
        "description": token.description,
        "created": token.created.isoformat(),
        "expires": token.expires.isoformat() if token.expires else None,
        "revoked": token.revoked.isoformat() if token.revoked else None,
    }


def _issuer_document(issuer: TrustedIssuer) -> dict[str, object]:
    return {
        "name": issuer.name,
        "issuer": issuer.issuer,
        "audiences": list(issuer.audiences),
        "jwksUri": issuer.jwks_uri,
        "jwks": issuer.jwks,
        "principalClaim": issuer.principal_claim,
        "principalPrefix": issuer.principal_prefix,
        "groupsClaim": issuer.groups_claim,
        "groupMappings": [
            {"claimValue": mapping.claim_value, "principalGroup": mapping.principal_group}
            for mapping in issuer.group_mappings
        ],
        "clientId": issuer.client_id,
    }
