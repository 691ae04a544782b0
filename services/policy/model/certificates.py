"""What a certificate is known by."""

import hashlib

from elevation.model import Certificate


def fingerprint_of(certificate: Certificate) -> str:
    """Return the SHA-256 of the certificate (DER), in lower-case hexadecimal digits."""
    return hashlib.sha256(certificate.der).hexdigest()
