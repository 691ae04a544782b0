"""What a service is told at start: one frozen value, checked whole."""

import ipaddress
import re
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from services._chassis.errors import InvalidError, Problem
from services._chassis.logging import LEVELS
from services._chassis.sources import networks

SERVICES = ("rbac", "device", "policy", "reporting")
LOG_FORMATS = ("auto", "json", "text")
ON_SUSPECTED_CLONE = ("flag", "quarantine")
DATABASE_SCHEMES = ("sqlite", "postgresql", "postgresql+psycopg")
LARGEST_PORT = 65535
MOST_RULES = 1000
"""Rules of one policy that agents accept."""
LONGEST_HEARTBEAT = timedelta(days=1)
SHORTEST_RETENTION = timedelta(days=30)
SHORTEST_EVENT_RETENTION = timedelta(days=1)
SHORTEST_CHECK_IN = timedelta(seconds=1)
LONGEST_CHECK_IN = timedelta(days=1)
SHORTEST_REVIEW = timedelta(hours=1)
LONGEST_REVIEW = timedelta(days=30)
SHORTEST_ACCESS_CAP = timedelta(minutes=1)
LONGEST_ACCESS_CAP = timedelta(days=365)
LONGEST_STAY = timedelta(days=36_500)
"""A time that may be added to any that a clock shows."""
_HOST = re.compile(r"(\*\.)?[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """Point to a certificate chain and its private key, both PEM."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSettings:
    """Hold the settings of a process that runs one service or all four; empty paths and addresses mean the data folder's.

    Addresses are `host:port`. A port of 0 lets the system choose; `bound` puts the chosen ones in its place.
    """

    data_dir: Path
    database_url: str = ""
    public_host: str = "127.0.0.1"
    public_port: int = 8443
    mesh_host: str = "127.0.0.1"
    mesh_port: int = 8444
    health_host: str = "127.0.0.1"
    health_port: int | None = None
    server_names: tuple[str, ...] = ()
    advertised_device: str = ""
    advertised_policy: str = ""
    advertised_reporting: str = ""
    rbac_address: str = ""
    device_address: str = ""
    reporting_address: str = ""
    trust_domain: str = "openepm"
    ca_file: Path | None = None
    ca_key_file: Path | None = None
    public_certificate: CertificateFiles | None = None
    mesh_certificate: CertificateFiles | None = None
    service_certificate: CertificateFiles | None = None
    signing_key_file: Path | None = None
    policy_public_keys_file: Path | None = None
    reflection: bool = False
    authentication_failures_per_minute: int = 30
    trusted_proxies: tuple[str, ...] = ()
    log_level: str = "info"
    log_format: str = "auto"
    drain_grace: timedelta = timedelta(seconds=10)
    access_bound: timedelta = timedelta(seconds=60)
    access_heartbeat: timedelta = timedelta(seconds=5)
    oidc_ca_file: Path | None = None
    oidc_key_refresh: timedelta = timedelta(minutes=5)
    deprovision_after: timedelta = timedelta(days=7)
    policy_heartbeat: timedelta = timedelta(minutes=5)
    request_review_deadline: timedelta = timedelta(days=7)
    request_access_cap: timedelta = timedelta(days=30)
    request_retention: timedelta = timedelta(days=400)
    most_streams: int = 20_000
    max_rules_per_policy: int = 100
    check_in_interval: timedelta = timedelta(minutes=5)
    device_certificate_lifetime: timedelta = timedelta(days=90)
    on_suspected_clone: str = "flag"
    audit_checkpoint_folder: Path | None = None
    audit_retention: timedelta | None = None
    notices_file: Path | None = None
    event_retention: timedelta = timedelta(days=30)
    rollup_retention: timedelta = timedelta(days=400)

    @property
    def ca(self) -> Path:
        """Return the certificate of the installation's CA."""
        return self.ca_file or self.data_dir / "ca" / "ca.crt"

    @property
    def ca_key(self) -> Path:
        """Return the key of the installation's CA; the device service alone reads it."""
        return self.ca_key_file or self.data_dir / "ca" / "ca.key"

    @property
    def signing_key(self) -> Path:
        """Return the Ed25519 keys that sign policy, newest first; the policy service alone reads them."""
        return self.signing_key_file or self.data_dir / "keys" / "policy-signing.key"

    @property
    def policy_public_keys(self) -> Path:
        """Return the public halves of the keys that sign policy; the device service hands them to new devices."""
        return self.policy_public_keys_file or self.data_dir / "keys" / "policy-signing.pub"

    @property
    def audit_checkpoints(self) -> Path:
        """Return the folder of the files to which checkpoints of the audit logs are written."""
        return self.audit_checkpoint_folder or self.data_dir / "audit"

    def audit_key(self, service: str) -> Path:
        """Return the Ed25519 key that signs the checkpoints of a service's audit log."""
        return self.data_dir / "keys" / f"audit-{service}.key"

    def audit_public_keys(self, service: str) -> Path:
        """Return the public halves of the keys that sign, or once signed, the checkpoints of a service's audit log."""
        return self.data_dir / "keys" / f"audit-{service}.pub"

    @property
    def public_files(self) -> CertificateFiles:
        """Return what the public door shows."""
        return self.public_certificate or self._in_data_dir("server")

    @property
    def mesh_files(self) -> CertificateFiles:
        """Return what the mesh door shows."""
        return self.mesh_certificate or self.service_certificate or self._in_data_dir("server")

    def identity_of(self, service: str) -> CertificateFiles:
        """Return the client certificate by which other services know `service`."""
        return self.service_certificate or self._in_data_dir(service)

    def database_of(self, service: str) -> str:
        """Return the URL of the service's database: its own SQLite file unless one is configured."""
        return self.database_url or f"sqlite:///{self.data_dir / service}.db"

    @property
    def rbac(self) -> str:
        """Return where to reach the rbac service; in one process with it, over the loopback of the mesh door."""
        return self.rbac_address or self.mesh_address

    @property
    def device(self) -> str:
        """Return where to reach the device service; in one process with it, over the loopback of the mesh door."""
        return self.device_address or self.mesh_address

    @property
    def reporting(self) -> str:
        """Return where to reach the reporting service; in one process with it, over the loopback of the mesh door."""
        return self.reporting_address or self.mesh_address

    @property
    def mesh_address(self) -> str:
        """Return where this process reaches its own mesh door."""
        return reachable(self.mesh_host, self.mesh_port)

    @property
    def public_address(self) -> str:
        """Return where this machine reaches the public door."""
        return reachable(self.public_host, self.public_port)

    def bound(self, *, public_port: int, mesh_port: int) -> "ServiceSettings":
        """Return the settings with the ports that the doors really have."""
        return replace(self, public_port=public_port, mesh_port=mesh_port)

    def alone(self, service: str) -> "ServiceSettings":
        """Return the settings of a service that runs by itself: both of its doors show its own certificate."""
        own = self.identity_of(service)
        return replace(self, service_certificate=own, public_certificate=self.public_certificate or own)

    def check(self) -> None:
        """Raise InvalidError with all problems of all values."""
        if problems := list(_problems(self)):
            raise InvalidError(problems, reason="SETTINGS_INVALID")

    def _in_data_dir(self, name: str) -> CertificateFiles:
        folder = self.data_dir / "certs"
        return CertificateFiles(folder / f"{name}.crt", folder / f"{name}.key")


def reachable(host: str, port: int) -> str:
    """Return `host:port` as a client on this machine dials it."""
    local = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1", "[::]": "::1"}.get(host, host)
    return f"[{local}]:{port}" if ":" in local and not local.startswith("[") else f"{local}:{port}"


def _problems(settings: ServiceSettings) -> Iterator[Problem]:
    yield from _port_problems(settings)
    yield from _address_problems(settings)
    yield from _duration_problems(settings)
    yield from _database_problems(settings.database_url)
    yield from _caller_problems(settings)
    for name in settings.server_names:
        if not is_host(name):
            yield Problem("server_names", f"must be host names or addresses, for example epm.example.com, not {name!r}")
    if not settings.trust_domain or not all(c.isascii() and (c.isalnum() or c in "-._") for c in settings.trust_domain):
        yield Problem("trust_domain", "must be letters, digits, hyphens, dots and underscores, for example openepm")
    if settings.on_suspected_clone not in ON_SUSPECTED_CLONE:
        yield Problem("on_suspected_clone", f"must be {' or '.join(ON_SUSPECTED_CLONE)}")
    if settings.log_level not in LEVELS:
        yield Problem("log_level", f"must be one of {', '.join(LEVELS)}")
    if settings.log_format not in LOG_FORMATS:
        yield Problem("log_format", f"must be one of {', '.join(LOG_FORMATS)}")


def _caller_problems(settings: ServiceSettings) -> Iterator[Problem]:
    if settings.most_streams < 1:
        yield Problem("most_streams", "must be at least 1")
    if not 1 <= settings.max_rules_per_policy <= MOST_RULES:
        yield Problem("max_rules_per_policy", f"must be from 1 to {MOST_RULES}")
    if settings.authentication_failures_per_minute < 1:
        yield Problem("authentication_failures_per_minute", "must be at least 1")
    for proxy in settings.trusted_proxies:
        try:
            networks([proxy])
        except ValueError:
            yield Problem(
                "trusted_proxies", f"must be addresses or networks, for example 10.0.0.7 or 10.1.0.0/16, not {proxy!r}"
            )


def is_host(name: str) -> bool:
    """Tell whether a certificate may carry the name: an IP address, or a DNS name, perhaps with a wildcard in front."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return _HOST.fullmatch(name) is not None
    return True


def _database_problems(url: str) -> Iterator[Problem]:
    """Find what is wrong with the URL; the messages never repeat it, for it may hold a password."""
    try:
        parts = urllib.parse.urlsplit(url)
        known = parts.scheme in DATABASE_SCHEMES and (parts.port is None or bool(parts.port))
    except ValueError:
        known = False
    if url and not known:
        yield Problem("database_url", "must be sqlite:///FILE or postgresql://USER:PASSWORD@HOST:PORT/NAME")


def _port_problems(settings: ServiceSettings) -> Iterator[Problem]:
    ports = {"public_port": settings.public_port, "mesh_port": settings.mesh_port}
    if settings.health_port is not None:
        ports["health_port"] = settings.health_port
    for name, port in ports.items():
        if not 0 <= port <= LARGEST_PORT:
            yield Problem(name, f"must be from 0 to {LARGEST_PORT}; 0 lets the system choose")
    taken = [port for port in ports.values() if port]
    if len(set(taken)) != len(taken):
        yield Problem(", ".join(ports), "must differ from one another")


def _address_problems(settings: ServiceSettings) -> Iterator[Problem]:
    advertised = ("advertised_device", "advertised_policy", "advertised_reporting")
    for name in (*advertised, "rbac_address", "device_address", "reporting_address"):
        address = getattr(settings, name)
        host, _, port = address.rpartition(":")
        if address and not (host and port.isdigit() and 0 < int(port) <= LARGEST_PORT):
            yield Problem(name, "must be host:port, for example epm.example.com:8444")


def _retention_problems(settings: ServiceSettings) -> Iterator[Problem]:
    if settings.audit_retention is not None and settings.audit_retention < SHORTEST_RETENTION:
        yield Problem("audit_retention", f"must be at least {SHORTEST_RETENTION.days} days; without it, all is kept")
    if not SHORTEST_RETENTION <= settings.request_retention <= LONGEST_STAY:
        yield Problem("request_retention", f"must be from {SHORTEST_RETENTION.days} to {LONGEST_STAY.days} days")
    if settings.event_retention < SHORTEST_EVENT_RETENTION:
        yield Problem("event_retention", "must be at least one day")
    if not settings.event_retention <= settings.rollup_retention <= LONGEST_STAY:
        yield Problem("rollup_retention", f"must be from event_retention to {LONGEST_STAY.days} days")


def _duration_problems(settings: ServiceSettings) -> Iterator[Problem]:
    positive = (
        "access_bound",
        "access_heartbeat",
        "oidc_key_refresh",
        "deprovision_after",
        "policy_heartbeat",
        "device_certificate_lifetime",
    )
    for name in positive:
        if getattr(settings, name) <= timedelta():
            yield Problem(name, "must be longer than zero")
    yield from _retention_problems(settings)
    if settings.deprovision_after > LONGEST_STAY:
        yield Problem("deprovision_after", f"must be at most {LONGEST_STAY.days} days")
    if not SHORTEST_CHECK_IN <= settings.check_in_interval <= LONGEST_CHECK_IN:
        yield Problem("check_in_interval", "must be from a second to a day")
    if settings.policy_heartbeat > LONGEST_HEARTBEAT:
        yield Problem("policy_heartbeat", "must be at most one day: devices have to be told daily that nothing changed")
    if not SHORTEST_REVIEW <= settings.request_review_deadline <= LONGEST_REVIEW:
        yield Problem("request_review_deadline", "must be from an hour to 30 days")
    if not SHORTEST_ACCESS_CAP <= settings.request_access_cap <= LONGEST_ACCESS_CAP:
        yield Problem("request_access_cap", "must be from a minute to 365 days")
    if settings.drain_grace < timedelta():
        yield Problem("drain_grace", "must not be negative")
    if settings.access_heartbeat >= settings.access_bound:
        yield Problem("access_heartbeat", "must be shorter than access_bound, or every service refuses its callers")
