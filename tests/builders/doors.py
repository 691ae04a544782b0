"""A host on loopback with certificates of its own, and channels to its doors."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import grpc
import grpc.aio

from services._chassis import pki
from services._chassis.clock import Clock
from services._chassis.config import CertificateFiles, ServiceSettings
from services._chassis.server import Host, ServiceParts


@cache
def authority() -> pki.Authority:
    """Return the CA of the tests, made once a run."""
    return pki.create_authority(now=datetime.now(UTC))[0]


@cache
def server_identity() -> pki.Issued:
    """Return a server certificate for this machine."""
    return pki.issue_server(authority(), (), now=datetime.now(UTC))


def service_identity(service: str, *, by: pki.Authority | None = None, trust_domain: str = "openepm") -> pki.Issued:
    """Return the certificate of a service."""
    signer = by or authority()
    return pki.issue_service(signer, service, (), trust_domain=trust_domain, now=datetime.now(UTC))


def device_identity(device_id: str, *, by: pki.Authority | None = None, trust_domain: str = "openepm") -> pki.Issued:
    """Return the certificate of an enrolled device."""
    key, csr = device_request()
    certificate = pki.sign_device(
        by or authority(),
        csr,
        device_id=device_id,
        trust_domain=trust_domain,
        now=datetime.now(UTC),
        lifetime=timedelta(days=1),
    )
    return pki.Issued(certificate, key)


def device_request() -> tuple[bytes, bytes]:
    """Return a fresh key and its certificate signing request, both PEM."""
    from cryptography import x509  # noqa: PLC0415 - the tests' own device
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    return pki.private_pem(key), request.public_bytes(serialization.Encoding.PEM)


def settings_for(folder: Path, **values: object) -> ServiceSettings:
    """Return settings on loopback, with ports that the system chooses and certificates in the folder."""
    files: dict[str, CertificateFiles] = {}
    for name, issued in {"server": server_identity(), "service": service_identity("rbac")}.items():
        pki.write_issued(issued, folder / "certs", name)
        files[name] = CertificateFiles(folder / "certs" / f"{name}.crt", folder / "certs" / f"{name}.key")
    ca = folder / "certs" / "ca.crt"
    ca.write_bytes(authority().pem)
    chosen: dict[str, object] = {
        "data_dir": folder,
        "public_port": 0,
        "mesh_port": 0,
        "ca_file": ca,
        "public_certificate": files["server"],
        "service_certificate": files["service"],
        "drain_grace": timedelta(),
    }
    return ServiceSettings(**{**chosen, **values})  # type: ignore[arg-type]


@dataclass(frozen=True)
class OpenDoors:
    """Reach the doors of a host that runs."""

    host: Host
    settings: ServiceSettings

    @asynccontextmanager
    async def public(self) -> AsyncIterator[grpc.aio.Channel]:
        """Open a channel to the public door."""
        credentials = grpc.ssl_channel_credentials(root_certificates=authority().pem)
        async with grpc.aio.secure_channel(self.settings.public_address, credentials) as channel:
            yield channel

    @asynccontextmanager
    async def mesh(self, identity: pki.Issued | None) -> AsyncIterator[grpc.aio.Channel]:
        """Open a channel to the mesh door with a client certificate, or without one."""
        pair = (identity.key, identity.certificate) if identity else (None, None)
        credentials = grpc.ssl_channel_credentials(authority().pem, *pair)
        async with grpc.aio.secure_channel(self.settings.mesh_address, credentials) as channel:
            yield channel


@asynccontextmanager
async def open_doors(
    folder: Path,
    *parts: ServiceParts,
    clock: Clock | None = None,
    new_decision_id: Callable[[], str] | None = None,
    **values: object,
) -> AsyncIterator[OpenDoors]:
    """Run a host with the parts until the block ends."""
    host = Host(settings_for(folder, **values), clock=clock, new_decision_id=new_decision_id)
    settings = host.bind()
    for part in parts:
        host.add(part)
    await host.start()
    try:
        yield OpenDoors(host, settings)
    finally:
        await host.stop()


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    """Return the metadata that carries a token."""
    return (("authorization", f"Bearer {token}"),)
