"""JSON Web Tokens of trusted issuers: who brings one, and as what the issuer's groups count.

- Only RS256, ES256 and EdDSA (Ed25519), whatever a token says of itself; each with keys of its own kind.
- A token counts for the audiences of its issuer alone, and only with `iss`, `aud`, `exp` and the claim of the principal.
- Clocks may differ by `SKEW`.
- What is not understood is refused: critical headers, tokens of other types, names that stand twice.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from joserfc.errors import ExpiredTokenError, JoseError
from joserfc.jws import JWSRegistry, deserialize_compact
from joserfc.jwt import JWTClaimsRegistry
from joserfc.util import urlsafe_b64decode

from services._chassis.errors import UnauthenticatedError
from services._chassis.jwks import ALGORITHMS, SigningKey, read_key_set
from services._chassis.snapshot import IssuerTrust
from services._chassis.strictjson import read_object

LONGEST_JWT = 12 * 1024
LONGEST_HEADER = 4 * 1024
LONGEST_PRINCIPAL = 128
SKEW = timedelta(seconds=60)
MOST_REMEMBERED = 4096
_TYPES = frozenset({"jwt", "at+jwt", "application/at+jwt"})
_PARTS = 3
_FAR = 1e12
"""Seconds that every clock is before; a number in a token may be too large for arithmetic."""


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """Know who brought a token that was believed, and until when it may be."""

    principal: str
    groups: frozenset[str]
    until: float


@dataclass(frozen=True, slots=True)
class _Trusted:
    trust: IssuerTrust
    keys: tuple[SigningKey, ...]


class _Algorithms(JWSRegistry):
    """Allow our algorithms. The library warns of EdDSA, whose name tells no curve; here it has Ed25519 keys alone."""

    max_header_length = LONGEST_HEADER

    def get_alg(self, name: str) -> Any:
        """Return the algorithm; `_header` has refused every other name."""
        return self.algorithms[name]


_REGISTRY = _Algorithms(algorithms=ALGORITHMS, strict_check_header=False)


def is_jwt(token: str) -> bool:
    """Tell whether a bearer token has the form of a JSON Web Token; ours hold no dot."""
    return token.count(".") == _PARTS - 1


class TokenVerifier:
    """Verify the tokens of one access snapshot's issuers, and remember those that were believed."""

    def __init__(self, issuers: Iterable[IssuerTrust] = ()) -> None:
        self._issuers = {trust.issuer: _Trusted(trust, _keys(trust)) for trust in issuers}
        self._remembered: dict[bytes, VerifiedToken] = {}

    def verify(self, token: str, digest: bytes, now: datetime) -> VerifiedToken:
        """Return who brought the token. Raises UnauthenticatedError for any that is not to be believed."""
        if known := self.remembered(digest, now):
            return known
        verified = self._verify(token, now)
        if len(self._remembered) >= MOST_REMEMBERED:
            del self._remembered[next(iter(self._remembered))]
        self._remembered[digest] = verified
        return verified

    def remembered(self, digest: bytes, now: datetime) -> VerifiedToken | None:
        """Return who brought a token that was believed before and is still good; None for any other."""
        known = self._remembered.get(digest)
        return known if known is not None and now.timestamp() < known.until else None

    def _verify(self, token: str, now: datetime) -> VerifiedToken:
        header, claims = _parts(token)
        issuer = claims.get("iss")
        trusted = self._issuers.get(issuer) if isinstance(issuer, str) else None
        if trusted is None:
            raise UnauthenticatedError(
                "the token's issuer is not trusted here; log in with another one", reason="TOKEN_ISSUER_UNKNOWN"
            )
        _check_signature(token, _key_for(header, trusted.keys))
        _check_claims(claims, trusted.trust, now)
        return VerifiedToken(
            _principal(claims, trusted.trust),
            _groups(claims, trusted.trust),
            min(claims["exp"], _FAR) + SKEW.total_seconds(),
        )


def _keys(trust: IssuerTrust) -> tuple[SigningKey, ...]:
    try:
        return read_key_set(trust.key_set)
    except ValueError:  # keys that cannot be read verify nothing
        return ()


def _parts(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return header and claims as they stand there, believed of nobody yet."""
    malformed = UnauthenticatedError("the token is no JSON Web Token that is read here", reason="TOKEN_MALFORMED")
    segments = token.split(".")
    if len(token) > LONGEST_JWT or len(segments) != _PARTS or not token.isascii():
        raise malformed
    try:
        header, claims = (read_object(urlsafe_b64decode(segment.encode())) for segment in segments[:2])
    except ValueError:
        raise malformed from None
    algorithm, kind = header.get("alg"), header.get("typ", "JWT")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise UnauthenticatedError(
            f"the token is not signed with {', '.join(sorted(ALGORITHMS))}", reason="TOKEN_ALGORITHM_REFUSED"
        )
    if "crit" in header or not isinstance(kind, str) or kind.lower() not in _TYPES:
        raise malformed
    return header, claims


def _key_for(header: Mapping[str, Any], keys: tuple[SigningKey, ...]) -> SigningKey:
    """Return the key that the header names; without a name, the only one that fits."""
    fitting = [key for key in keys if key.algorithm == header["alg"]]
    if "kid" in header:
        fitting = [key for key in fitting if key.kid == header["kid"]]
    if len(fitting) != 1:
        raise UnauthenticatedError(
            "the token is signed with a key that its issuer does not publish; log in again", reason="TOKEN_KEY_UNKNOWN"
        )
    return fitting[0]


def _check_signature(token: str, key: SigningKey) -> None:
    try:
        deserialize_compact(token, key.key, registry=_REGISTRY)
    except (JoseError, ValueError):
        raise UnauthenticatedError("the token's signature is wrong", reason="TOKEN_SIGNATURE_WRONG") from None


def _check_claims(claims: dict[str, Any], trust: IssuerTrust, now: datetime) -> None:
    registry = JWTClaimsRegistry(
        now=int(now.timestamp()),
        leeway=int(SKEW.total_seconds()),
        iss={"essential": True, "value": trust.issuer},
        aud={"essential": True, "values": list(trust.audiences)},
        exp={"essential": True},
    )
    try:
        registry.validate(claims)
    except ExpiredTokenError:
        raise UnauthenticatedError("the token has expired; log in again", reason="TOKEN_EXPIRED") from None
    except JoseError as error:
        raise _refused(str(getattr(error, "description", "") or error)) from None


def _principal(claims: Mapping[str, Any], trust: IssuerTrust) -> str:
    value = claims.get(trust.principal_claim)
    name = trust.principal_prefix + value if isinstance(value, str) and value else ""
    if not 0 < len(name) <= LONGEST_PRINCIPAL or not name.isprintable() or name != name.strip():
        raise _refused(f"claim {trust.principal_claim!r} names nobody")
    if trust.principal_claim == "email" and claims.get("email_verified", True) is not True:
        raise _refused("claim 'email' was not verified by the issuer")
    return f"user:{name}"


def _groups(claims: Mapping[str, Any], trust: IssuerTrust) -> frozenset[str]:
    """Return the principal groups that the token's groups count as."""
    given = claims.get(trust.groups_claim) if trust.groups_claim else None
    values = [] if given is None else [given] if isinstance(given, str) else given
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise _refused(f"claim {trust.groups_claim!r} must be a list of texts")
    return frozenset[str]().union(*(trust.group_mappings.get(value, frozenset()) for value in values))


def _refused(why: str) -> UnauthenticatedError:
    return UnauthenticatedError(f"the token is refused: {why}", reason="TOKEN_CLAIMS_REFUSED")
