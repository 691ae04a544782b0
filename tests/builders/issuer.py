"""An identity provider in this process: it signs tokens with keys of its own, good ones and bad ones."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from services._chassis.snapshot import IssuerTrust
from tests.fakes.clock import NOW

ISSUER = "https://id.example.com"
AUDIENCE = "epm"
Sign = Callable[[bytes], bytes]


@cache
def rsa_key(name: str = "first") -> rsa.RSAPrivateKey:
    """Return an RSA key, made once a run for each name."""
    del name
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@cache
def ec_key() -> ec.EllipticCurvePrivateKey:
    """Return a P-256 key, made once a run."""
    return ec.generate_private_key(ec.SECP256R1())


@cache
def ed_key() -> ed25519.Ed25519PrivateKey:
    """Return an Ed25519 key, made once a run."""
    return ed25519.Ed25519PrivateKey.generate()


def with_rsa(key: rsa.RSAPrivateKey) -> Sign:
    """Sign as RS256 says."""
    return lambda data: key.sign(data, padding.PKCS1v15(), hashes.SHA256())


def with_ec(key: ec.EllipticCurvePrivateKey) -> Sign:
    """Sign as ES256 says."""

    def sign(data: bytes) -> bytes:
        r, s = decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    return sign


def with_secret(secret: bytes) -> Sign:
    """Sign as HS256 says."""
    return lambda data: hmac.digest(secret, data, hashlib.sha256)


def public_rsa(kid: str = "rsa", key: rsa.RSAPrivateKey | None = None, **more: object) -> dict[str, Any]:
    """Return the public half of an RSA key as a JSON Web Key."""
    numbers = (key or rsa_key()).public_key().public_numbers()
    return {"kty": "RSA", "kid": kid, "use": "sig", "n": _number(numbers.n), "e": _number(numbers.e), **more}


def public_ec(kid: str = "ec") -> dict[str, Any]:
    """Return the public half of the P-256 key as a JSON Web Key."""
    numbers = ec_key().public_key().public_numbers()
    x, y = (encoded(number.to_bytes(32, "big")) for number in (numbers.x, numbers.y))
    return {"kty": "EC", "kid": kid, "crv": "P-256", "x": x, "y": y, "alg": "ES256"}


def public_ed(kid: str = "ed") -> dict[str, Any]:
    """Return the public half of the Ed25519 key as a JSON Web Key."""
    return {"kty": "OKP", "kid": kid, "crv": "Ed25519", "x": encoded(ed_key().public_key().public_bytes_raw())}


def key_set(*keys: Mapping[str, object]) -> str:
    """Return a key set; without keys, one of every kind."""
    return json.dumps({"keys": list(keys) or [public_rsa(), public_ec(), public_ed()]})


def trust(**values: Any) -> IssuerTrust:
    """Return what is believed of this issuer."""
    chosen: dict[str, Any] = {
        "name": "corp",
        "issuer": ISSUER,
        "audiences": (AUDIENCE, "epm-cli"),
        "key_set": key_set(),
        "groups_claim": "groups",
        "group_mappings": {"epm-admins": frozenset({"admins"}), "everyone": frozenset({"readers", "approvers"})},
    }
    return IssuerTrust(**{**chosen, **values})


def claims(now: datetime = NOW, /, **changes: Any) -> dict[str, Any]:
    """Return the claims of a good token; a change to None takes one away."""
    seconds = int(now.timestamp())
    good: dict[str, Any] = {"iss": ISSUER, "sub": "alice", "aud": AUDIENCE, "iat": seconds, "exp": seconds + 300}
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def token(
    payload: Mapping[str, Any] | bytes | None = None,
    *,
    header: Mapping[str, Any] | bytes | None = None,
    sign: Sign | None = None,
) -> str:
    """Return a token: by default a good one, signed with RS256."""
    head = {"alg": "RS256", "kid": "rsa", "typ": "JWT"} if header is None else header
    signed = f"{encoded(_bytes(head))}.{encoded(_bytes(claims() if payload is None else payload))}"
    return f"{signed}.{encoded((sign or with_rsa(rsa_key()))(signed.encode()))}"


def encoded(data: bytes) -> str:
    """Return data as base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(value: Mapping[str, Any] | bytes) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value).encode()


def _number(value: int) -> str:
    return encoded(value.to_bytes((value.bit_length() + 7) // 8, "big"))
