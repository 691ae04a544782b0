"""Whether there is an Owner without an end, and a way in for one.

INVARIANT: a principal group that issuers map has nobody in it for sure: it is a way in, and never the last Owner.
"""

from datetime import datetime

from services._chassis.access import OWNER, CompiledAccess
from services._chassis.nesting import USER
from services._chassis.snapshot import IssuerTrust


def has_lasting_owner(access: CompiledAccess) -> bool:
    """Tell whether somebody is Owner without an end."""
    lasting = _lasting(access)
    return any(access.bits(principal) & lasting for principal in access.principals())


def admits_owner(access: CompiledAccess, now: datetime) -> bool:
    """Tell whether somebody can log in as Owner without an end: by a token, or by an issuer whose keys are known."""
    lasting = _lasting(access)
    usable = (token for token in access.snapshot.tokens if token.expires is None or now < token.expires)
    if any(access.bits(token.principal) & lasting for token in usable):
        return True
    owners = [principal for principal in access.principals() if access.bits(principal) & lasting]
    return any(
        _names_any(issuer, owners) or access.bits("", _mapped(issuer)) & lasting
        for issuer in access.snapshot.issuers
        if issuer.key_set
    )


def _lasting(access: CompiledAccess) -> int:
    """Return the assignments of the role Owner that have no end, as bits."""
    grants = enumerate(access.all_grants)
    return sum(1 << index for index, grant in grants if grant.role == OWNER and grant.expires is None)


def _names_any(issuer: IssuerTrust, principals: list[str]) -> bool:
    """Tell whether the issuer can name one of the principals; a claim is never empty, so the prefix alone is nobody."""
    start = USER + issuer.principal_prefix
    return any(principal.startswith(start) and principal != start for principal in principals)


def _mapped(issuer: IssuerTrust) -> frozenset[str]:
    return frozenset[str]().union(*issuer.group_mappings.values())
