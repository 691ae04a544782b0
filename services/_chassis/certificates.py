"""What certificates say: which one it is, whose key it has, who issued it; and what is said of one that counts no more."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

from services._chassis.caller import serial_of
from services._chassis.errors import DeniedError, UnavailableError

CERTIFICATE_REPLACED = "CERTIFICATE_REPLACED"


@dataclass(frozen=True, slots=True)
class Described:
    """Know what tells certificates apart: serial number in lower-case hex, end, and digest of the key."""

    serial: str
    expires: datetime
    key_digest: str


def described(pem: bytes) -> Described:
    """Return what tells the first certificate of a PEM text, which is well-formed, from others."""
    certificate = x509.load_pem_x509_certificate(pem)
    return Described(serial_of(certificate), certificate.not_valid_after_utc, key_digest(certificate.public_key()))


def fingerprint(certificate: x509.Certificate) -> bytes:
    """Return the SHA-256 of a certificate's DER."""
    return hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).digest()


def chain_with_authority(chain: bytes, authority: bytes) -> bytes:
    """Return a server's chain (PEM) with the CA's certificate behind a lone leaf that the CA issued, so that it carries both.

    A chain of another issuer, or one that goes on behind its leaf, is left as it is. Raises ValueError for what is no PEM.
    """
    certificates, issuer = x509.load_pem_x509_certificates(chain), x509.load_pem_x509_certificate(authority)
    if len(certificates) > 1:
        return chain
    try:
        certificates[0].verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return chain
    return chain.rstrip() + b"\n" + issuer.public_bytes(serialization.Encoding.PEM)


def key_digest(key: CertificatePublicKeyTypes) -> str:
    """Return the SHA-256 of a public key, in hex."""
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()


def replaced() -> DeniedError:
    """Return the refusal of a certificate that counts no more."""
    return DeniedError(
        "this certificate was replaced by another of the device; use that one, or enrol again with a token for the device",
        reason=CERTIFICATE_REPLACED,
    )


@contextmanager
def by_directory(*, live: bool) -> Iterator[None]:
    """Admit a device by a directory: of one that is not `live`, what it does not know may be a new certificate.

    Turns the refusal of such a certificate into UnavailableError, which asks its device to come back.
    """
    try:
        yield
    except DeniedError as error:
        if live or error.reason != CERTIFICATE_REPLACED:
            raise
        raise UnavailableError(
            "the certificate is not known here, and the device service is away; try again", reason="DIRECTORY_BEHIND"
        ) from error
