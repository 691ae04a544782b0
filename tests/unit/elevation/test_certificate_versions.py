"""Certificates of a version that there is not."""

import base64
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from elevation.certificates import CertificateError, parse_der, parse_pem

VERSION_3 = bytes.fromhex("a003020102")


def of_version_8() -> bytes:
    """Return a certificate that says so."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime(2026, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder().subject_name(x509.Name([])).issuer_name(x509.Name([])).serial_number(1)
    builder = builder.public_key(key.public_key()).not_valid_before(now).not_valid_after(now + timedelta(days=1))
    der = bytearray(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER))
    der[der.index(VERSION_3) + len(VERSION_3) - 1] = 7
    return bytes(der)


def test_a_certificate_of_no_known_version_is_refused_as_a_text() -> None:
    body = base64.encodebytes(of_version_8()).decode()
    with pytest.raises(CertificateError, match="is damaged"):
        parse_pem(f"-----BEGIN CERTIFICATE-----\n{body}-----END CERTIFICATE-----\n")


def test_a_certificate_of_no_known_version_is_refused_as_bytes() -> None:
    with pytest.raises(CertificateError, match="is not a DER certificate"):
        parse_der(of_version_8())
