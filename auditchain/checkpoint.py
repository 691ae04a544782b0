"""Checkpoints: signed statements of how far a log had come, which no one without the key can make.

The signature (Ed25519) is over `openepm-audit-checkpoint-v1`, a zero byte, the service's name, sequence, hash, signed,
pruned_through and anchor_hash, written as in the canonical bytes of a record; hashes have their length before them too.
"""

import hashlib
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from auditchain.record import number_bytes, text_bytes

CHECKPOINT_TAG = b"openepm-audit-checkpoint-v1\0"
KEY_ID_DIGITS = 16
_PUBLIC_END = b"-----END PUBLIC KEY-----"
Keys = Mapping[str, ed25519.Ed25519PublicKey]
"""Public keys by their ids."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """State the sequence number and hash of the newest record at a time, and what retention had deleted by then.

    `signed` counts microseconds since 1970 in UTC. Records up to and with `pruned_through` are deleted; the one after it
    follows `anchor_hash`.
    """

    sequence: int
    hash: bytes
    signed: int
    pruned_through: int = 0
    anchor_hash: bytes = b""
    key_id: str = ""
    signature: bytes = b""


def statement(service: str, checkpoint: Checkpoint) -> bytes:
    """Return what is signed."""
    return CHECKPOINT_TAG + b"".join(
        (
            text_bytes(service),
            number_bytes(checkpoint.sequence),
            _bytes(checkpoint.hash),
            number_bytes(checkpoint.signed),
            number_bytes(checkpoint.pruned_through),
            _bytes(checkpoint.anchor_hash),
        )
    )


def signed_by(key: ed25519.Ed25519PrivateKey, service: str, checkpoint: Checkpoint) -> Checkpoint:
    """Return the checkpoint with the signature of the key."""
    signature = key.sign(statement(service, checkpoint))
    return replace(checkpoint, key_id=key_id(key.public_key()), signature=signature)


def is_signed(service: str, checkpoint: Checkpoint, keys: Keys) -> bool:
    """Tell whether one of the keys signed the checkpoint as it is."""
    key = keys.get(checkpoint.key_id)
    if key is None:
        return False
    try:
        key.verify(checkpoint.signature, statement(service, checkpoint))
    except InvalidSignature:
        return False
    return True


def key_id(key: ed25519.Ed25519PublicKey) -> str:
    """Return the name by which checkpoints know a key: the start of its SHA-256."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:KEY_ID_DIGITS]


def read_keys(pem: bytes) -> Keys:
    """Read public keys, one PEM after the other. Raises ValueError if there is none, or one that is not Ed25519."""
    keys = [serialization.load_pem_public_key(part + _PUBLIC_END) for part in pem.split(_PUBLIC_END)[:-1]]
    fit = [key for key in keys if isinstance(key, ed25519.Ed25519PublicKey)]
    if not fit or len(fit) != len(keys):
        raise ValueError("holds no Ed25519 public keys in PEM")
    return by_id(fit)


def by_id(keys: Iterable[ed25519.Ed25519PublicKey]) -> Keys:
    """Return the keys by their ids."""
    return {key_id(key): key for key in keys}


def _bytes(value: bytes) -> bytes:
    return struct.pack(">I", len(value)) + value
