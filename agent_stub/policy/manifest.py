"""Verify signed manifests: who signed, for whom, what, and until when."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from google.protobuf.message import DecodeError

from agent_stub.model import Identity
from epm.policy.v1 import agent_pb2

DOMAIN_TAG = b"openepm-policy-manifest-v1\x00"
KEY_LENGTH = 32
MOST_KEYS = 32
LARGEST_SKEW = timedelta(days=1)
"""How far ahead of the device a server's clock may be: who took up what a far future says could not be corrected until then."""


class PolicyRefusedError(Exception):
    """A policy is not applied. `reasons` holds all that is wrong; `code` names the kind for diagnostics.

    `passes` tells that nothing is wrong with the policy itself: there may be room on the disk later, or the clock set right.
    """

    def __init__(self, reasons: list[str], code: str = "POLICY_REFUSED", *, passes: bool = False) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = reasons
        self.code = code
        self.passes = passes


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a manifest says."""

    revision: int
    sha256: bytes
    expires: datetime | None
    """None: it does not say, which is a problem of its own."""
    issued: datetime
    """The beginning of all time if it does not say."""
    key_id: str
    """The key that signed."""
    keys: Mapping[str, bytes]
    """The keys that verify policy from now on; empty: those that do."""


def verify(signed: agent_pb2.SignedManifest, identity: Identity) -> Manifest:
    """Give a manifest whose signature, tenant and device are right; raise PolicyRefusedError with all reasons."""
    manifest, reasons = read_manifest(signed, identity)
    if reasons:
        raise PolicyRefusedError(reasons)
    return manifest


def read_manifest(signed: agent_pb2.SignedManifest, identity: Identity) -> tuple[Manifest, list[str]]:
    """Read a manifest, and say all that is wrong with it; raise PolicyRefusedError where it cannot be read."""
    try:
        manifest = agent_pb2.Manifest.FromString(signed.manifest)
        expires = manifest.expires.ToDatetime(tzinfo=UTC) if manifest.HasField("expires") else None
        issued = manifest.issued.ToDatetime(tzinfo=UTC)
    except (DecodeError, ValueError, OverflowError):
        raise PolicyRefusedError(["the manifest cannot be read"]) from None
    read = Manifest(
        revision=manifest.revision,
        sha256=manifest.document_sha256,
        expires=expires,
        issued=issued,
        key_id=manifest.key_id,
        keys={told.key_id: told.public_key for told in manifest.keys},
    )
    return read, [*_problems(manifest, signed, identity), *_key_problems(manifest, identity)]


def time_problems(manifest: Manifest, now: datetime) -> list[str]:
    """Say whether the manifest has expired, or is not yet valid, by the device's clock."""
    problems: list[str] = []
    if manifest.expires is not None and manifest.expires <= now:
        problems.append(f"the manifest expired at {manifest.expires.isoformat()}")
    if manifest.issued - now > LARGEST_SKEW:
        problems.append(f"the manifest is not yet valid: it was issued at {manifest.issued.isoformat()}")
    return problems


def digest_problems(manifest: Manifest, document: bytes) -> list[str]:
    """Say whether the document is another one than the manifest is of."""
    if hashlib.sha256(document).digest() != manifest.sha256:
        return ["the document's SHA-256 is not the one of the manifest"]
    return []


def _problems(manifest: agent_pb2.Manifest, signed: agent_pb2.SignedManifest, identity: Identity) -> Iterator[str]:
    key = identity.policy_keys.get(manifest.key_id)
    if key is None:
        yield f"the manifest is signed by the key {manifest.key_id!r}, which this device does not trust"
    elif not _is_signed(key, signed):
        yield "the signature of the manifest is wrong"
    if manifest.tenant != identity.trust_domain:
        yield f"the manifest is for the installation {manifest.tenant!r}, not {identity.trust_domain!r}"
    if manifest.device_id != identity.device_id:
        yield f"the manifest is for the device {manifest.device_id!r}, not {identity.device_id!r}"
    if manifest.revision == 0:
        yield "the manifest has no revision"
    if not manifest.HasField("expires"):
        yield "the manifest does not say when it expires"


def _key_problems(manifest: agent_pb2.Manifest, identity: Identity) -> Iterator[str]:
    """Say what is wrong with the keys that a manifest tells of: who took them up could not verify the next one."""
    told = {key.key_id: key.public_key for key in manifest.keys}
    if not told:
        return
    whole = len(told) == len(manifest.keys) <= MOST_KEYS
    if not whole or any(not key_id or len(key) != KEY_LENGTH for key_id, key in told.items()):
        yield f"the manifest tells of keys that are not 1 to {MOST_KEYS} different Ed25519 keys"
    trusted = identity.policy_keys.get(manifest.key_id)
    if trusted is not None and told.get(manifest.key_id) != trusted:
        yield "the manifest tells of keys without the one that signed it"


def _is_signed(key: bytes, signed: agent_pb2.SignedManifest) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signed.signature, DOMAIN_TAG + signed.manifest)
    except (InvalidSignature, ValueError):
        return False
    return True
