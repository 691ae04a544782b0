"""Identity providers whose tokens are believed, and the keys that were fetched for them."""

from dataclasses import dataclass, field

from services._chassis.snapshot import IssuerTrust

DISCOVERY = "/.well-known/openid-configuration"
SUBJECT = "sub"


@dataclass(frozen=True, slots=True, order=True)
class GroupMapping:
    """Count whoever is in an issuer's group as a member of a principal group, for the call that the token makes."""

    claim_value: str
    principal_group: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedIssuer:
    """An identity provider; its keys are given (`jwks`), at an address (`jwks_uri`), or found by discovery."""

    name: str
    issuer: str
    audiences: tuple[str, ...]
    jwks_uri: str = ""
    jwks: str = field(default="", repr=False)
    principal_claim: str = ""
    principal_prefix: str = ""
    groups_claim: str = ""
    group_mappings: tuple[GroupMapping, ...] = ()
    client_id: str = ""

    @property
    def key_source(self) -> str:
        """Return the address that leads to its keys; empty where they are given."""
        return "" if self.jwks else self.jwks_uri or self.issuer.rstrip("/") + DISCOVERY


@dataclass(frozen=True, slots=True)
class IssuerKeys:
    """Keep the keys that were last fetched for an issuer, and from where: keys from elsewhere say nothing of it."""

    name: str
    source: str
    jwks: str


def trust_of(issuer: TrustedIssuer, keys: IssuerKeys | None) -> IssuerTrust:
    """Return what services need to verify the issuer's tokens; without keys they refuse them."""
    fetched = keys.jwks if keys is not None and keys.source == issuer.key_source else ""
    mappings: dict[str, frozenset[str]] = {}
    for mapping in issuer.group_mappings:
        mappings[mapping.claim_value] = mappings.get(mapping.claim_value, frozenset()) | {mapping.principal_group}
    return IssuerTrust(
        name=issuer.name,
        issuer=issuer.issuer,
        audiences=issuer.audiences,
        key_set=issuer.jwks or fetched,
        principal_claim=issuer.principal_claim or SUBJECT,
        principal_prefix=issuer.principal_prefix,
        groups_claim=issuer.groups_claim,
        group_mappings=mappings,
    )
