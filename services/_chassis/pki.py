"""The installation's own certificates: the CA, those of the servers and services, and those it signs for devices.

ECDSA P-256 throughout. Who a certificate speaks for is its one URI, `spiffe://TRUST-DOMAIN/device/ID` or `.../service/NAME`;
whoever signs decides every field, nothing is taken from a request but its public key.
"""

import hashlib
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from services._chassis.certificates import key_digest
from services._chassis.errors import InvalidError, Problem, StateError
from services._chassis.files import write_private

CA_LIFETIME = timedelta(days=3650)
SERVICE_LIFETIME = timedelta(days=825)
BACKDATED = timedelta(minutes=5)
"""Certificates begin a little in the past: clocks of devices differ."""

LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
_LARGEST_CSR = 16 * 1024
_PUBLIC_END = b"-----END PUBLIC KEY-----"


@dataclass(frozen=True, slots=True)
class Issued:
    """Hold a new certificate and its private key, both PEM."""

    certificate: bytes
    key: bytes


@dataclass(frozen=True, slots=True)
class Authority:
    """Sign in the name of the installation's CA."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        """Return the CA's certificate."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)


def create_authority(
    *, now: datetime, name: str = "OpenEPM CA", key: ec.EllipticCurvePrivateKey | None = None
) -> tuple[Authority, Issued]:
    """Make a new CA, with a new key unless one is given; the second value is what goes to its files."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = _builder(subject, subject, key.public_key(), now=now, lifetime=CA_LIFETIME)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_key_usage(signs_certificates=True), critical=True)
    certificate = builder.sign(key, hashes.SHA256())
    return Authority(certificate, key), Issued(_pem(certificate), private_pem(key))


def load_authority(certificate: Path, key: Path) -> Authority:
    """Read the CA from its files. Raises StateError with the file's name if it cannot be used."""
    loaded, authority = load_authority_key(key), load_certificate(certificate)
    if loaded.public_key() != authority.public_key():
        raise StateError(f"the key {key} does not belong to the CA certificate {certificate}", reason="CA_UNREADABLE")
    return Authority(authority, loaded)


def load_authority_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Read the key of a CA. Raises StateError with the file's name if it cannot be used."""
    key = load_private_key(path)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise StateError(f"the CA's key {path} is not an ECDSA key", reason="KEY_UNREADABLE")
    return key


def load_private_key(path: Path) -> PrivateKeyTypes:
    """Read a private key of any kind. Raises StateError with the file's name if it cannot be used."""
    try:
        return serialization.load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise StateError(f"the key cannot be read: {path}: {error.strerror}", reason="KEY_UNREADABLE") from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise StateError(f"the key {path} is not PEM without a password", reason="KEY_UNREADABLE") from error


def load_certificate(path: Path) -> x509.Certificate:
    """Read the first certificate of a PEM file. Raises StateError with the file's name if there is none."""
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except OSError as error:
        raise StateError(
            f"the certificate cannot be read: {path}: {error.strerror}", reason="CERTIFICATE_UNREADABLE"
        ) from error
    except (ValueError, x509.InvalidVersion) as error:
        raise StateError(f"{path} holds no PEM certificate", reason="CERTIFICATE_UNREADABLE") from error


def issue_server(authority: Authority, names: Iterable[str], *, now: datetime) -> Issued:
    """Make a certificate for a public door: for this machine and for `names` (DNS names or addresses)."""
    alternatives = [*_alternatives((*LOCAL_NAMES, *names))]
    return _issue(authority, "OpenEPM server", alternatives, [ExtendedKeyUsageOID.SERVER_AUTH], now=now)


def issue_service(
    authority: Authority, service: str, names: Iterable[str], *, trust_domain: str, now: datetime
) -> Issued:
    """Make the certificate of a service, which shows it both as a server and as a client."""
    uri = x509.UniformResourceIdentifier(service_uri(trust_domain, service))
    alternatives = [uri, *_alternatives((*LOCAL_NAMES, *names))]
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    return _issue(authority, f"OpenEPM {service}", alternatives, usages, now=now)


def service_uri(trust_domain: str, service: str) -> str:
    """Return the name by which a service's certificate is known."""
    return f"spiffe://{trust_domain}/service/{service}"


def sign_device(
    authority: Authority, csr: bytes, *, device_id: str, trust_domain: str, now: datetime, lifetime: timedelta
) -> bytes:
    """Sign a device's request (PEM or DER) and return the certificate as PEM; of the request only the public key counts.

    Raises InvalidError if it is no request, does not prove its key, or its key is not ECDSA P-256.
    """
    request = _read_csr(csr)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, device_id)])
    uri = x509.UniformResourceIdentifier(f"spiffe://{trust_domain}/device/{device_id}")
    key = _p256(request.public_key())
    builder = _builder(subject, authority.certificate.subject, key, now=now, lifetime=lifetime)
    return _pem(_sign_leaf(builder, authority, [uri], [ExtendedKeyUsageOID.CLIENT_AUTH]))


def create_signing_key() -> bytes:
    """Make the Ed25519 key that signs policy, as PEM."""
    return private_pem(ed25519.Ed25519PrivateKey.generate())


def load_signing_key(path: Path) -> ed25519.Ed25519PrivateKey:
    """Read the key that signs policy. Raises StateError with the file's name if it cannot be used."""
    key = load_private_key(path)
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise StateError(f"the signing key {path} is not an Ed25519 key", reason="KEY_UNREADABLE")
    return key


def public_pem(key: ed25519.Ed25519PublicKey) -> bytes:
    """Return a public key that verifies policy as PEM."""
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def load_policy_public_keys(path: Path) -> tuple[ed25519.Ed25519PublicKey, ...]:
    """Read the keys that verify policy, one PEM after the other. Raises StateError with the file's name if one is unfit."""
    try:
        parts = path.read_bytes().split(_PUBLIC_END)[:-1]
        keys = tuple(serialization.load_pem_public_key(part + _PUBLIC_END) for part in parts)
    except OSError as error:
        raise StateError(
            f"the policy keys cannot be read: {path}: {error.strerror}", reason="KEY_UNREADABLE"
        ) from error
    except ValueError as error:
        raise StateError(f"the policy keys {path} are not PEM public keys", reason="KEY_UNREADABLE") from error
    fit = tuple(key for key in keys if isinstance(key, ed25519.Ed25519PublicKey))
    if not fit or len(fit) != len(keys):
        raise StateError(f"the policy keys {path} must be Ed25519 public keys, at least one", reason="KEY_UNREADABLE")
    return fit


def policy_key_id(key: ed25519.Ed25519PublicKey) -> str:
    """Return the name by which manifests and devices know a policy key: the start of its SHA-256."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:16]


def request_key_digest(csr: bytes) -> str:
    """Return the SHA-256 of the public key that a device's request proves. Raises InvalidError like `sign_device`."""
    return key_digest(_p256(_read_csr(csr).public_key()))


def private_pem(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    """Return a private key as unencrypted PKCS #8 PEM; its file's mode protects it."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def write_issued(issued: Issued, folder: Path, name: str) -> None:
    """Write NAME.crt and NAME.key into the folder, the key first: a certificate is never there without its key."""
    write_private(folder / f"{name}.key", issued.key)
    write_private(folder / f"{name}.crt", issued.certificate)


def _issue(
    authority: Authority,
    name: str,
    alternatives: list[x509.GeneralName],
    usages: list[x509.ObjectIdentifier],
    *,
    now: datetime,
) -> Issued:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = _builder(subject, authority.certificate.subject, key.public_key(), now=now, lifetime=SERVICE_LIFETIME)
    return Issued(_pem(_sign_leaf(builder, authority, alternatives, usages)), private_pem(key))


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, *, now: datetime, lifetime: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + lifetime)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _sign_leaf(
    builder: x509.CertificateBuilder,
    authority: Authority,
    alternatives: list[x509.GeneralName],
    usages: list[x509.ObjectIdentifier],
) -> x509.Certificate:
    issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    return (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(issuer_key, critical=False)
        .sign(authority.key, hashes.SHA256())
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _alternatives(names: Iterable[str]) -> Iterable[x509.GeneralName]:
    for name in dict.fromkeys(names):
        try:
            yield x509.IPAddress(ipaddress.ip_address(name))
        except ValueError:
            yield x509.DNSName(name)


def _read_csr(csr: bytes) -> x509.CertificateSigningRequest:
    load = x509.load_pem_x509_csr if csr.lstrip().startswith(b"-----") else x509.load_der_x509_csr
    try:
        request = load(csr[:_LARGEST_CSR])
        proven = request.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise InvalidError([Problem("csr_pem", "is not a certificate signing request; send PKCS #10")]) from error
    if not proven:
        raise InvalidError([Problem("csr_pem", "is not signed by the key that it carries")])
    return request


def _p256(key: object) -> ec.EllipticCurvePublicKey:
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise InvalidError([Problem("csr_pem", "must carry an ECDSA P-256 key")])
    return key


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
