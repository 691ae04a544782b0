"""Keep the device's identity: key, certificate, trusted authorities and the facts of enrolment."""

import json
from dataclasses import asdict
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from agent_stub.files import StateError, write_private
from agent_stub.model import Credentials, Identity

IDENTITY, KEY, CERTIFICATE, AUTHORITIES = "identity.json", "key.pem", "certificate.pem", "ca.pem"


def is_enrolled(folder: Path) -> bool:
    """Tell whether an enrolment was completed here; the identity is written last."""
    return (folder / IDENTITY).exists()


def save(folder: Path, identity: Identity, credentials: Credentials) -> None:
    """Write certificate and authorities, then the identity that makes them count. The key is there already."""
    write_private(folder / CERTIFICATE, credentials.certificate)
    write_private(folder / AUTHORITIES, credentials.ca)
    fields = asdict(identity) | {"policy_keys": {name: key.hex() for name, key in identity.policy_keys.items()}}
    write_private(folder / IDENTITY, json.dumps(fields, indent=1).encode())


def load(folder: Path) -> tuple[Identity, Credentials]:
    """Read what `save` wrote; raise StateError where nothing is enrolled or a file is damaged."""
    if not is_enrolled(folder):
        raise StateError(f"state folder {folder}: holds no enrolled device; run `epm-agent enroll` first")
    try:
        fields = json.loads((folder / IDENTITY).read_bytes())
        keys = {str(name): bytes.fromhex(key) for name, key in fields.pop("policy_keys").items()}
        identity = Identity(policy_keys=keys, **{str(name): _text(value) for name, value in fields.items()})
        credentials = Credentials(
            key=(folder / KEY).read_bytes(),
            certificate=(folder / CERTIFICATE).read_bytes(),
            ca=(folder / AUTHORITIES).read_bytes(),
        )
        _check(credentials)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, UnsupportedAlgorithm) as error:
        raise StateError(
            f"state folder {folder}: the identity is damaged; move the folder away and enrol the device anew"
        ) from error
    return identity, credentials


def _check(credentials: Credentials) -> None:
    """Raise ValueError for what no connection can be made with: said here, where it can be told what to do."""
    key = serialization.load_pem_private_key(credentials.key, password=None)
    x509.load_pem_x509_certificates(credentials.ca)
    if x509.load_pem_x509_certificates(credentials.certificate)[0].public_key() != key.public_key():
        raise ValueError("the certificate is for another key")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value
