"""The keys that sign policy: a file of private keys, the newest one first, and a file of the public halves in step with it.

Devices learn a new key from manifests that an older one signs, so both stand in the files until every device has been
there. What is written first is chosen so that a crash between the two files never leaves a key that signs and that new
devices are not told.
"""

from collections.abc import Iterable
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from services._chassis import pki
from services._chassis.errors import StateError
from services._chassis.files import write_private

MOST = 8
"""Keys at a time: each manifest lists all of them."""

_END = b"-----END PRIVATE KEY-----"


def load_signing_keys(path: Path) -> tuple[ed25519.Ed25519PrivateKey, ...]:
    """Read the keys that sign policy, newest first. Raises StateError with the file's name if one is unfit."""
    try:
        parts = path.read_bytes().split(_END)[:-1]
        keys = [serialization.load_pem_private_key(part + _END, password=None) for part in parts]
    except OSError as error:
        raise StateError(
            f"the signing keys cannot be read: {path}: {error.strerror}", reason="KEY_UNREADABLE"
        ) from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise StateError(f"the signing keys {path} are not PEM without a password", reason="KEY_UNREADABLE") from error
    fit = tuple(key for key in keys if isinstance(key, ed25519.Ed25519PrivateKey))
    if not fit or len(fit) != len(keys) or len({id_of(key) for key in fit}) != len(fit) or len(fit) > MOST:
        raise StateError(f"{path} must hold 1 to {MOST} different Ed25519 keys", reason="KEY_UNREADABLE")
    return fit


def keep_signing_keys(path: Path, public_keys: Path) -> None:
    """Make a key that signs policy unless there is one, and the public halves beside it.

    Raises StateError if the public keys that devices get do not know a key that signs: they would refuse all policy.
    """
    if not path.exists():
        if public_keys.exists():
            raise StateError(
                f"the key that signs policy is missing: {path}; restore it, for devices trust {public_keys} alone",
                reason="KEY_MISSING",
            )
        write_private(path, pki.create_signing_key())
    keys = [key.public_key() for key in load_signing_keys(path)]
    if not public_keys.exists():
        _write_public(public_keys, keys)
    known = {pki.policy_key_id(known) for known in pki.load_policy_public_keys(public_keys)}
    if not {pki.policy_key_id(key) for key in keys} <= known:
        raise StateError(
            f"{public_keys} does not hold the public half of every key in {path}; add it, or devices refuse all policy",
            reason="KEY_UNKNOWN",
        )


def rotate_signing_key(path: Path, public_keys: Path) -> str:
    """Put a new key before the ones that sign; return its id. Raises StateError where the files are unfit or full."""
    keys = load_signing_keys(path)
    known = pki.load_policy_public_keys(public_keys)
    if len(keys) >= MOST:
        raise StateError(f"{path} holds {len(keys)} keys already; retire one of them first", reason="KEYS_TOO_MANY")
    new = ed25519.Ed25519PrivateKey.generate()
    _write_public(public_keys, [new.public_key(), *known])
    _write_private(path, [new, *keys])
    return id_of(new)


def retire_signing_key(path: Path, public_keys: Path, key_id: str) -> None:
    """Take a key away. Raises StateError where there is none of this id, and for the newest one, which signs."""
    keys = load_signing_keys(path)
    known = pki.load_policy_public_keys(public_keys)
    newest, *older = [id_of(key) for key in keys]
    if key_id == newest:
        remedy = "make another one first with `epm ca rotate-policy-key`" if not older else "retire an older one"
        raise StateError(f"{key_id} is the newest key that signs policy; {remedy}", reason="KEY_NEEDED")
    if key_id not in older and key_id not in map(pki.policy_key_id, known):
        raise StateError(f"{path} holds no key {key_id}; it holds {', '.join([newest, *older])}", reason="KEY_MISSING")
    if key_id in older:
        _write_private(path, [key for key in keys if id_of(key) != key_id])
    _write_public(public_keys, [key for key in known if pki.policy_key_id(key) != key_id])


def id_of(key: ed25519.Ed25519PrivateKey) -> str:
    """Return the name by which manifests and devices know the key."""
    return pki.policy_key_id(key.public_key())


def _write_private(path: Path, keys: Iterable[ed25519.Ed25519PrivateKey]) -> None:
    write_private(path, b"".join(map(pki.private_pem, keys)))


def _write_public(path: Path, keys: Iterable[ed25519.Ed25519PublicKey]) -> None:
    write_private(path, b"".join(map(pki.public_pem, keys)))
