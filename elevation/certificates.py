"""Read X.509 certificates into the nouns of the kernel.

The only module of the kernel that knows the `cryptography` library; it is imported when the first certificate is read,
because deciding never needs it and it costs start-up time.
"""

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from elevation.model import Certificate

if TYPE_CHECKING:
    from cryptography import x509

_PEM = re.compile(r"\s*-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----\s*", re.ASCII)
_MARK = "-----BEGIN "


class CertificateError(ValueError):
    """The text or the bytes are no single X.509 certificate."""


@lru_cache(maxsize=1024)
def parse_pem(text: str) -> Certificate:
    """Read exactly one PEM certificate; raise CertificateError for anything else."""
    if text.count(_MARK) > 1:
        raise CertificateError("holds more than one PEM block; give one certificate alone")
    if _PEM.fullmatch(text) is None:
        raise CertificateError("is not a PEM certificate; give the text from BEGIN CERTIFICATE to END CERTIFICATE")
    from cryptography import x509  # noqa: PLC0415 - see the module docstring

    try:
        parsed = x509.load_pem_x509_certificate(text.strip().encode("ascii"))
        return _certificate(parsed)
    except (ValueError, x509.InvalidVersion) as error:
        raise CertificateError("is damaged; export the certificate again") from error


@lru_cache(maxsize=1024)
def parse_der(der: bytes) -> Certificate:
    """Read one DER certificate; raise CertificateError for anything else."""
    from cryptography import x509  # noqa: PLC0415 - see the module docstring

    try:
        return _certificate(x509.load_der_x509_certificate(der))
    except (ValueError, x509.InvalidVersion) as error:
        raise CertificateError("is not a DER certificate") from error


def to_pem(certificate: Certificate) -> str:
    """Write a certificate as PEM, byte for byte the one that was read."""
    from cryptography import x509  # noqa: PLC0415 - see the module docstring
    from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415 - same

    return x509.load_der_x509_certificate(certificate.der).public_bytes(Encoding.PEM).decode("ascii")


def _certificate(parsed: "x509.Certificate") -> Certificate:
    from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415 - same

    return Certificate(
        der=parsed.public_bytes(Encoding.DER),
        subject=parsed.subject.rfc4514_string(),
        issuer=parsed.issuer.rfc4514_string(),
        subject_name=parsed.subject.public_bytes(),
        issuer_name=parsed.issuer.public_bytes(),
        not_before=parsed.not_valid_before_utc,
        not_after=parsed.not_valid_after_utc,
    )
