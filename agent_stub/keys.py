"""The device's key: make it, ask for its certificate, and see whether a certificate is the one that was asked for."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from agent_stub.files import StateError, write_private

_COMMON_NAME_LIMIT = 64


def take_up_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Take up the key of an attempt that was interrupted, or make and keep one; raise StateError."""
    with contextlib.suppress(FileNotFoundError):
        try:
            key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise StateError(f"{path}: is no readable key; remove it and enrol again") from error
        if isinstance(key, ec.EllipticCurvePrivateKey):
            return key
        raise StateError(f"{path}: is not an elliptic-curve key; remove it and enrol again")
    fresh = new_key()
    try:
        write_private(path, key_pem(fresh))
    except OSError as error:
        raise StateError(f"{path}: cannot be written ({error.strerror}); make room and try again") from error
    return fresh


def new_key() -> ec.EllipticCurvePrivateKey:
    """Make a key of the kind that the server signs."""
    return ec.generate_private_key(ec.SECP256R1())


def certificates(pem: bytes) -> list[x509.Certificate]:
    """Read certificates (PEM); raise ValueError for anything else, and for those of no known version."""
    try:
        return x509.load_pem_x509_certificates(pem)
    except x509.InvalidVersion as error:
        raise ValueError("a certificate is of no known version") from error


def fits(key: bytes, certificate: bytes) -> bool:
    """Tell whether a certificate (PEM, leaf first) is of a key (PEM); raise ValueError for what is neither."""
    public = serialization.load_pem_private_key(key, password=None).public_key()
    return certificates(certificate)[0].public_key() == public


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Write a key as unencrypted PKCS #8 PEM; its file's mode protects it."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def signing_request(key: ec.EllipticCurvePrivateKey, name: str) -> str:
    """Ask for a certificate of a key, as PEM. The server takes nothing of it but the public key."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:_COMMON_NAME_LIMIT] or "device")])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode("ascii")


def certificate_problems(
    certificate_pem: str, ca_pem: str, key: ec.EllipticCurvePrivateKey, name: str
) -> Iterator[str]:
    """Say all that keeps an answer from being the certificate of this key and this name."""
    try:
        leaf, *rest = certificates(certificate_pem.encode())
        authorities = certificates(ca_pem.encode())
        alternative = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        yield "certificate_pem or ca_pem cannot be read"
        return
    if leaf.public_key() != key.public_key():
        yield "the certificate is for another key"
    if alternative.get_values_for_type(x509.UniformResourceIdentifier) != [name]:
        yield f"the certificate does not name {name}"
    if not any(_issued(leaf, issuer) for issuer in (*rest, *authorities)):
        yield "the certificate is of another authority than ca_pem"


def _issued(leaf: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        leaf.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
