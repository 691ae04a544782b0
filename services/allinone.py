"""All four services in one process, or one of them alone: what `epm serve` and `epm ca` start from.

A service is imported only when it is built: a process that runs one of them does not load the others. What serves is
imported only to serve: `epm serve --help` and `epm ca` need no gRPC.
"""

import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from services._chassis import datadir, pki, policykeys
from services._chassis.clock import Clock, SystemClock
from services._chassis.config import SERVICES, CertificateFiles, ServiceSettings
from services._chassis.errors import InvalidError, ServiceError, StateError

if TYPE_CHECKING:
    from services._chassis.run import Build
    from services._chassis.server import ServiceParts

__all__ = [
    "SERVICES",
    "CertificateFiles",
    "InvalidError",
    "ServiceError",
    "ServiceSettings",
    "builds",
    "ca_init",
    "ca_issue_service",
    "ca_retire_policy_key",
    "ca_rotate_policy_key",
    "init_data_dir",
    "policy_key_files",
    "serve_all",
    "serve_one",
]
OnReady = Callable[[ServiceSettings], None]


def builds(services: Iterable[str] = SERVICES) -> dict[str, "Build"]:
    """Return what builds each of the services, by name, in the order in which they need one another."""
    wanted = set(services)
    return {name: partial(_build, name) for name in SERVICES if name in wanted}


def init_data_dir(settings: ServiceSettings, services: Sequence[str] = SERVICES, *, clock: Clock | None = None) -> None:
    """Make what the services need in the data folder and is missing there: CA, certificates, signing key.

    Raises StateError, which names the file and the remedy.
    """
    datadir.prepare(settings, services, now=(clock or SystemClock()).now())


def serve_all(settings: ServiceSettings, on_ready: OnReady | None = None) -> int:
    """Run all four services until the process is asked to end; return its exit code."""
    return _serve(settings, builds(), on_ready, partial(init_data_dir, settings))


def serve_one(settings: ServiceSettings, service: str, on_ready: OnReady | None = None) -> int:
    """Run one service until the process is asked to end; return its exit code."""
    prepare = partial(init_data_dir, settings, (service,))
    return _serve(settings.alone(service), builds((service,)), on_ready, prepare)


def ca_init(folder: Path, *, clock: Clock | None = None) -> None:
    """Make the CA of an installation, and the key that signs its policy. Raises StateError if there is a CA already."""
    if not datadir.keep_authority(folder / "ca.crt", folder / "ca.key", now=(clock or SystemClock()).now()):
        raise StateError(f"there is a CA in {folder} already; nothing was changed", reason="CA_EXISTS")
    policykeys.keep_signing_keys(folder / "policy-signing.key", folder / "policy-signing.pub")


def ca_issue_service(
    folder: Path,
    service: str,
    names: Iterable[str],
    out: Path,
    *,
    trust_domain: str = "openepm",
    replacing: bool = False,
    clock: Clock | None = None,
) -> CertificateFiles:
    """Issue the certificate of a service with the CA in `folder`, and write it to `out`; return its files.

    Raises InvalidError for a name that no certificate can carry, StateError if the CA cannot be used, or if there is a
    certificate already that is not to be replaced.
    """
    names = tuple(names)
    ServiceSettings(data_dir=out, server_names=names, trust_domain=trust_domain).check()
    files = CertificateFiles(out / f"{service}.crt", out / f"{service}.key")
    if files.certificate.exists() and not replacing:
        raise StateError(f"{files.certificate} exists already; nothing was changed", reason="CERTIFICATE_EXISTS")
    authority = pki.load_authority(folder / "ca.crt", folder / "ca.key")
    now = (clock or SystemClock()).now()
    pki.write_issued(pki.issue_service(authority, service, names, trust_domain=trust_domain, now=now), out, service)
    return files


def policy_key_files(folder: Path, *, data_dir: bool) -> tuple[Path, Path]:
    """Return the files of the keys that sign policy, private and public, in a data folder or in the folder of a CA."""
    if data_dir:
        settings = ServiceSettings(data_dir=folder)
        return settings.signing_key, settings.policy_public_keys
    return folder / "policy-signing.key", folder / "policy-signing.pub"


def ca_rotate_policy_key(private: Path, public: Path) -> str:
    """Make a new key that signs policy, beside those that there are; return its id. Raises StateError."""
    return policykeys.rotate_signing_key(private, public)


def ca_retire_policy_key(private: Path, public: Path, key_id: str) -> None:
    """Take a key away that signs policy. Raises StateError for the newest one, and where there is none of this id."""
    policykeys.retire_signing_key(private, public, key_id)


def _serve(
    settings: ServiceSettings, wanted: "Mapping[str, Build]", on_ready: OnReady | None, prepare: Callable[[], None]
) -> int:
    from services._chassis.run import run_until_signalled  # noqa: PLC0415 - see the top

    return run_until_signalled(settings, wanted, on_ready, prepare)


async def _build(service: str, settings: ServiceSettings) -> "ServiceParts":
    module = importlib.import_module(f"services.{service}.__main__")
    return await cast("Build", module.build)(settings)
