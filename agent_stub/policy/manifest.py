"""Verify signed manifests: who signed, for whom, what, and until when."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from google.protobuf.message import DecodeError

from agent_stub.model import Identity
from epm.policy.v1 import agent_pb2

DOMAIN_TAG = b"openepm-policy-manifest-v1\x00"


class PolicyRefusedError(Exception):
    """A policy is not applied. `reasons` holds all that is wrong; `code` names the kind for diagnostics."""

    def __init__(self, reasons: list[str], code: str = "POLICY_REFUSED") -> None:
        super().__init__("; ".join(reasons))
        self.reasons = reasons
        self.code = code


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a manifest says."""

    revision: int
    sha256: bytes
    expires: datetime | None
    """None: it does not say, which is a problem of its own."""


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
    except (DecodeError, ValueError, OverflowError):
        raise PolicyRefusedError(["the manifest cannot be read"]) from None
    return (
        Manifest(manifest.revision, manifest.document_sha256, expires),
        list(_problems(manifest, signed, identity)),
    )


def expiry_problems(manifest: Manifest, now: datetime) -> list[str]:
    """Say whether the manifest has expired."""
    if manifest.expires is not None and manifest.expires <= now:
        return [f"the manifest expired at {manifest.expires.isoformat()}"]
    return []


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


def _is_signed(key: bytes, signed: agent_pb2.SignedManifest) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signed.signature, DOMAIN_TAG + signed.manifest)
    except (InvalidSignature, ValueError):
        return False
    return True
