"""The data folder of an installation: what the first start makes in it, and what a later one renews.

- What is there is never overwritten, with one exception: a certificate that our own CA issued is issued again when it runs
  out, lacks a name, or lost its key. One of another issuer is the operator's business.
- Every file is written whole or not at all, a key before what belongs to it; a start that was cut short is completed by
  the next one.
- A process that runs all four services makes the CA. One that runs a single service needs it to be there, and can make the
  rest only where the CA's key is at hand.
"""

import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ed25519

from auditchain.checkpoint import read_keys
from services._chassis import pki
from services._chassis.config import SERVICES, CertificateFiles, ServiceSettings, is_host
from services._chassis.errors import StateError
from services._chassis.files import make_private_folder, write_private
from services._chassis.logging import get_logger
from services._chassis.policykeys import keep_signing_keys

log = get_logger("datadir")
RENEW_BEFORE = timedelta(days=30)
"""How long before its end a certificate of our CA is issued again."""

_EVERYWHERE = frozenset({"", "0.0.0.0", "::", "[::]"})


def prepare(settings: ServiceSettings, services: Sequence[str], *, now: datetime) -> None:
    """Make what the services need and is missing. Raises StateError, which names the file and the remedy."""
    make_private_folder(settings.data_dir)
    try:
        together = set(services) == set(SERVICES)
        if together and settings.ca_file is None:
            keep_authority(settings.ca, settings.ca_key, now=now)
        issuer = _issuer(settings, services)
        for name, names in _pairs(settings, services):
            _keep_pair(settings, name, names, issuer, now=now)
        if "policy" in services:
            keep_signing_keys(settings.signing_key, settings.policy_public_keys)
    except OSError as error:
        raise StateError(
            f"{error.filename or settings.data_dir} cannot be used: {error.strerror}", reason="FOLDER_UNUSABLE"
        ) from error


def keep_authority(certificate: Path, key: Path, *, now: datetime) -> bool:
    """Make the installation's CA unless it is there; tell whether it was made."""
    if certificate.exists():
        return False
    made, issued = pki.create_authority(now=now, key=pki.load_authority_key(key) if key.exists() else None)
    if not key.exists():
        write_private(key, issued.key)
    write_private(certificate, made.pem)
    return True


def keep_audit_key(key: Path, public_keys: Path) -> tuple[ed25519.Ed25519PrivateKey, str]:
    """Return the key that signs an audit log's checkpoints, made unless it is there, and all public halves as PEM.

    A key that was lost is made anew; the public half of the old one stays, so that what it signed still verifies. Raises
    StateError, which names the file.
    """
    if not key.exists():
        write_private(key, pki.create_signing_key())
        if public_keys.exists():
            log.warning("audit_key_made_anew", file=str(key))
    signing = pki.load_signing_key(key)
    known = _audit_public_keys(public_keys)
    if signing.public_key() not in known:
        known.append(signing.public_key())
        write_private(public_keys, b"".join(map(pki.public_pem, known)))
    return signing, b"".join(map(pki.public_pem, known)).decode()


def _audit_public_keys(path: Path) -> list[ed25519.Ed25519PublicKey]:
    try:
        return list(read_keys(path.read_bytes()).values()) if path.exists() else []
    except OSError as error:
        raise StateError(f"{path} cannot be read: {error.strerror}", reason="KEY_UNREADABLE") from error
    except ValueError as error:
        raise StateError(f"{path} {error}; restore it, or move it away", reason="KEY_UNREADABLE") from error


@dataclass(frozen=True, slots=True)
class _Issuer:
    """Know the installation's CA, and sign in its name where its key is at hand."""

    certificate: x509.Certificate
    authority: pki.Authority | None

    def issued(self, certificate: x509.Certificate) -> bool:
        """Tell whether the certificate is of this CA."""
        try:
            certificate.verify_directly_issued_by(self.certificate)
        except (ValueError, TypeError, InvalidSignature):
            return False
        return True


def _issuer(settings: ServiceSettings, services: Sequence[str]) -> _Issuer:
    if not settings.ca.exists():
        raise StateError(
            f"the certificate of the installation's CA is missing: {settings.ca}; make a CA with `epm ca init` and put its"
            f" ca.crt there, or let one `epm serve` run all services instead of {', '.join(services)} alone",
            reason="CA_MISSING",
        )
    authority = pki.load_authority(settings.ca, settings.ca_key) if settings.ca_key.exists() else None
    return _Issuer(pki.load_certificate(settings.ca), authority)


def _pairs(settings: ServiceSettings, services: Sequence[str]) -> Iterator[tuple[str, frozenset[str]]]:
    """Name the certificates of the data folder that the process shows, each with the names that it must carry."""
    hosts = [*settings.server_names, *_listening(settings)]
    advertised = {
        "device": settings.advertised_device,
        "policy": settings.advertised_policy,
        "reporting": settings.advertised_reporting,
    }
    hosts += [advertised[name].rpartition(":")[0] for name in services if advertised.get(name)]
    names = frozenset(_normal(host) for host in (*pki.LOCAL_NAMES, *hosts))
    if set(services) == set(SERVICES) and not (settings.public_certificate and settings.mesh_certificate):
        yield "server", names
    if settings.service_certificate is None:
        alone = names if len(services) == 1 else frozenset(pki.LOCAL_NAMES)
        yield from ((name, alone) for name in services)


def _listening(settings: ServiceSettings) -> Iterator[str]:
    for host in (settings.public_host, settings.mesh_host):
        if host not in _EVERYWHERE and is_host(host.strip("[]")):
            yield host.strip("[]")


def _keep_pair(settings: ServiceSettings, name: str, names: frozenset[str], issuer: _Issuer, *, now: datetime) -> None:
    folder = settings.data_dir / "certs"
    files = CertificateFiles(folder / f"{name}.crt", folder / f"{name}.key")
    found = pki.load_certificate(files.certificate) if files.certificate.exists() else None
    if found is not None:
        uris = frozenset() if name == "server" else frozenset({pki.service_uri(settings.trust_domain, name)})
        lasts = found.not_valid_after_utc > now + RENEW_BEFORE
        fits = lasts and names <= names_in(found) and uris <= uris_in(found) and _belongs(found, files.key)
        if fits or not issuer.issued(found):
            _check_key(found, files)
            return
        names |= names_in(found)
    if issuer.authority is None:
        _go_on_without(found, files, name, now)
        return
    made = issue(issuer.authority, name, names, trust_domain=settings.trust_domain, now=now)
    pki.write_issued(made, folder, name)
    log.info("certificate_issued", file=str(files.certificate), names=sorted(names))


def issue(authority: pki.Authority, name: str, names: Iterable[str], *, trust_domain: str, now: datetime) -> pki.Issued:
    """Issue the certificate that stands under `name` in a data folder: `server`, or that of a service."""
    ordered = sorted(names)
    if name == "server":
        return pki.issue_server(authority, ordered, now=now)
    return pki.issue_service(authority, name, ordered, trust_domain=trust_domain, now=now)


def names_in(certificate: x509.Certificate) -> frozenset[str]:
    """Return the DNS names and addresses that the certificate is for."""
    names = _alternatives(certificate)
    return frozenset({*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))})


def uris_in(certificate: x509.Certificate) -> frozenset[str]:
    """Return the URIs by which the certificate's holder is known."""
    return frozenset(_alternatives(certificate).get_values_for_type(x509.UniformResourceIdentifier))


def _alternatives(certificate: x509.Certificate) -> x509.SubjectAlternativeName:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return x509.SubjectAlternativeName([])


def _belongs(certificate: x509.Certificate, key: Path) -> bool:
    try:
        return pki.load_private_key(key).public_key() == certificate.public_key()
    except StateError:
        return False


def _check_key(certificate: x509.Certificate, files: CertificateFiles) -> None:
    if not _belongs(certificate, files.key):
        raise StateError(
            f"the key {files.key} does not belong to {files.certificate}; put the right one there, or remove both files",
            reason="KEY_UNREADABLE",
        )


def _go_on_without(found: x509.Certificate | None, files: CertificateFiles, name: str, now: datetime) -> None:
    """Go on with a certificate that should be renewed, while it is good; nobody can renew it without the CA's key."""
    remedy = f"make one with `epm ca issue-service {name} --out {files.certificate.parent}` where the CA's key is"
    if found is None:
        raise StateError(f"the certificate {files.certificate} is missing; {remedy}", reason="CERTIFICATE_MISSING")
    _check_key(found, files)
    if found.not_valid_after_utc <= now:
        raise StateError(
            f"the certificate {files.certificate} has expired; {remedy} (--replace)", reason="CERTIFICATE_EXPIRED"
        )
    log.warning("certificate_needs_renewal", file=str(files.certificate), ends=found.not_valid_after_utc.isoformat())


def _normal(host: str) -> str:
    try:
        return str(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        return host
