"""Who calls: bearer tokens of administrators, SPIFFE names in the certificates of devices and services."""

import hashlib
from collections.abc import Iterable, Mapping

from services._chassis.access import AccessControl
from services._chassis.caller import Caller, CallerKind
from services._chassis.errors import UnauthenticatedError
from services._chassis.jwt import LONGEST_JWT, is_jwt

TOKEN_PREFIX = "epm_"  # noqa: S105 - marks tokens for people and for scanners of leaked secrets
LONGEST_TOKEN = 512
LONGEST_NAME = 128
_SAFE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._")


def digest_of(token: str) -> bytes:
    """Return what is stored and compared in place of a token's text."""
    return hashlib.sha256(token.encode()).digest()


def bearer_token(authorization: Iterable[str]) -> str:
    """Return the token of the call's `authorization` values. Raises UnauthenticatedError unless there is exactly one."""
    values = list(authorization)
    if not values:
        raise UnauthenticatedError("no bearer token; send `authorization: Bearer TOKEN`", reason="TOKEN_MISSING")
    scheme, _, token = values[0].partition(" ")
    token = token.strip()
    if len(values) > 1 or scheme.lower() != "bearer" or not _looks_like_a_token(token):
        raise UnauthenticatedError(
            "the authorization is malformed; send one `authorization: Bearer TOKEN`", reason="TOKEN_MALFORMED"
        )
    return token


def administrator(authorization: Iterable[str], access: AccessControl, *, source: str, limited: bool = False) -> Caller:
    """Return the administrator whom the token speaks for. Raises UnauthenticatedError.

    Of a source that is `limited`, no signature is verified: only what was believed before is believed again.
    """
    text = bearer_token(authorization)
    digest = digest_of(text)
    if is_jwt(text):
        verified = access.recall(digest) if limited else access.verify(text, digest)
        if verified is None:
            raise UnauthenticatedError("the token was not verified; try again later", reason="TOKEN_NOT_VERIFIED")
        return Caller(
            kind=CallerKind.ADMINISTRATOR, principal=verified.principal, groups=verified.groups, source=source
        )
    token = access.authenticate(digest)
    return Caller(kind=CallerKind.ADMINISTRATOR, principal=token.principal, token_id=token.token_id, source=source)


def mesh_caller(auth_context: Mapping[str, Iterable[bytes]], *, trust_domain: str, source: str) -> Caller:
    """Return the device or service whose certificate the connection carries. Raises UnauthenticatedError.

    gRPC has verified the chain; the name counts only if it is the certificate's one URI, and of our trust domain.
    """
    names = [value.decode("utf-8", "replace") for value in auth_context.get("peer_uri", ())]
    prefix = f"spiffe://{trust_domain}/"
    if len(names) != 1 or not names[0].startswith(prefix):
        raise UnauthenticatedError(
            f"the client certificate names no device or service of {prefix}; enrol again", reason="CERTIFICATE_FOREIGN"
        )
    kind, _, name = names[0].removeprefix(prefix).partition("/")
    if kind not in ("device", "service") or not 0 < len(name) <= LONGEST_NAME or not _SAFE.issuperset(name):
        raise UnauthenticatedError(
            "the client certificate's name is malformed; enrol again", reason="CERTIFICATE_FOREIGN"
        )
    if kind == "device":
        shown = b"".join(auth_context.get("x509_pem_cert", ()))
        return Caller(kind=CallerKind.DEVICE, device_id=name, source=source, certificate=shown)
    return Caller(kind=CallerKind.SERVICE, service=name, source=source)


def _looks_like_a_token(token: str) -> bool:
    longest = LONGEST_JWT if is_jwt(token) else LONGEST_TOKEN
    return 0 < len(token) <= longest and token.isascii() and token.isprintable() and " " not in token
