"""The public keys of an issuer of JSON Web Tokens: its JSON Web Key Set, of which only what we verify with is kept."""

import json
import struct
from dataclasses import dataclass, field
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, JWKRegistry, OKPKey, RSAKey
from joserfc.util import base64_to_int

from services._chassis.strictjson import read_object

LONGEST_KEY_SET = 64 * 1024
RSA_BITS = range(2048, 8193)
_ALGORITHMS = {"RSA": "RS256", "EC": "ES256", "OKP": "EdDSA"}
_CURVES = {"EC": "P-256", "OKP": "Ed25519"}
_PARTS = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
_SECRETS = frozenset({"d", "k"})
ALGORITHMS: frozenset[str] = frozenset(_ALGORITHMS.values())


@dataclass(frozen=True, slots=True)
class SigningKey:
    """Verify signatures of one algorithm; `kid` is empty where the set gives none."""

    kid: str
    algorithm: str
    key: RSAKey | ECKey | OKPKey = field(compare=False, repr=False)


def read_key_set(text: str) -> tuple[SigningKey, ...]:
    """Read a key set. Raises ValueError unless it holds public keys alone, at least one of which we can verify with.

    As the standard asks, keys for other purposes and of kinds that we do not know are passed over.
    """
    data = text.encode()
    if len(data) > LONGEST_KEY_SET:
        raise ValueError(f"is longer than {LONGEST_KEY_SET} bytes")
    entries = read_object(data).get("keys")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError("must be a JSON Web Key Set: an object with a list `keys`")
    if any(_SECRETS & entry.keys() for entry in entries):
        raise ValueError("holds a private or a secret key; give public keys alone")
    keys = tuple(key for entry in entries if (key := _read(entry)) is not None)
    if not keys:
        raise ValueError("holds no public key for RS256 (2048 to 8192 bits), ES256 or EdDSA (Ed25519)")
    return keys


def canonical_key_set(text: str) -> str:
    """Return a key set in one spelling: a provider's servers give the same keys in different orders.

    Raises ValueError as `read_key_set` does.
    """
    read_key_set(text)
    entries = [json.dumps(entry, sort_keys=True, separators=(",", ":")) for entry in read_object(text.encode())["keys"]]
    spelt = f'{{"keys":[{",".join(sorted(entries))}]}}'
    read_key_set(spelt)
    return spelt


def _read(entry: dict[str, Any]) -> SigningKey | None:
    """Read one key; None for one that we do not verify with."""
    kind, kid = str(entry.get("kty")), entry.get("kid", "")
    algorithm = _ALGORITHMS.get(kind)
    operations = entry.get("key_ops")
    if (
        algorithm is None
        or not (isinstance(kid, str) and kid.isprintable())
        or entry.get("use", "sig") != "sig"
        or entry.get("alg", algorithm) != algorithm
        or (operations is not None and not (isinstance(operations, list) and "verify" in operations))
        or (kind in _CURVES and entry.get("crv") != _CURVES[kind])
    ):
        return None
    key = _import({"kty": kind} | {part: entry.get(part) for part in _PARTS[kind]})
    return SigningKey(kid, algorithm, key) if key is not None else None


def _import(parts: dict[str, Any]) -> RSAKey | ECKey | OKPKey | None:
    """Make the key of its numbers; None where they are no key or one that is too short."""
    if not all(isinstance(part, str) and part for part in parts.values()):
        return None
    try:
        if "n" in parts and base64_to_int(parts["n"]).bit_length() not in RSA_BITS:
            return None
        key = JWKRegistry.import_key(parts)
    except (JoseError, ValueError, TypeError, struct.error):
        return None
    return key if isinstance(key, RSAKey | ECKey | OKPKey) else None
