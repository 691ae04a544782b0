"""The two doors of a process, and everything that lives and dies with them.

- **public**: server TLS; administrators with bearer tokens, and anonymous callers.
- **mesh**: mutual TLS; devices and services, named by their certificates.

A proto service belongs to one door. Start is refused when an RPC does not declare who may call it.
"""

import asyncio
import secrets
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import grpc
import grpc.aio

from epm.access.v1 import audit_pb2_grpc
from services._chassis.access import AccessControl
from services._chassis.audit_log import AuditLog
from services._chassis.audit_servicer import AuditServicer
from services._chassis.caller import CallerKind
from services._chassis.certificates import chain_with_authority
from services._chassis.client import MESSAGE_LIMIT, SNAPSHOT_LIMIT
from services._chassis.clock import Clock, SystemClock
from services._chassis.config import CertificateFiles, ServiceSettings
from services._chassis.errors import StateError
from services._chassis.health import HealthBoard
from services._chassis.interceptors import ChassisInterceptor, DoorManners
from services._chassis.logging import get_logger
from services._chassis.refusals import RefusalLog
from services._chassis.rules import MESH_KINDS, PUBLIC_KINDS, MethodRule, rules_of
from services._chassis.sources import Network, networks
from services._chassis.throttle import Throttle
from services._chassis.workers import Worker, supervise

log = get_logger("server")
DECISION_ID_BYTES = 8
AddServicer = Callable[[grpc.aio.Server], None]
METADATA_LIMIT = 16 * 1024
"""Bytes of a call's metadata: one token of an identity provider, and a little beside it."""
TRANSPORT_LIMIT = 2 * MESSAGE_LIMIT
"""Bytes of a message that gRPC takes in: its own refusal tells no program why, so the interceptor refuses what is a little too long."""

OPTIONS = (
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", TRANSPORT_LIMIT),
    ("grpc.max_send_message_length", SNAPSHOT_LIMIT),
    ("grpc.max_metadata_size", METADATA_LIMIT),
    ("grpc.absolute_max_metadata_size", METADATA_LIMIT),
    ("grpc.server.max_pending_requests", 20_000),
    ("grpc.server.max_pending_requests_hard_limit", 40_000),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 30_000),
)


async def _nothing() -> None:
    """Close nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceParts:
    """Hand over one service, ready to run: what to add to each door, what works in the background, how it ends."""

    name: str
    access: AccessControl
    refusals: RefusalLog = field(default_factory=RefusalLog)
    """Hears of the refused calls; a worker of the service writes them down."""
    audit: AuditLog | None = None
    """Is kept by workers of its own, and served to administrators with those of the other services."""
    public: Sequence[AddServicer] = ()
    mesh: Sequence[AddServicer] = ()
    workers: Sequence[Worker] = ()
    able: Mapping[str, Callable[[], bool]] = field(default_factory=dict)
    """By proto service, whether it can do its work: one that cannot is shown as not serving, though it answers."""
    on_drain: Sequence[Callable[[], Awaitable[None]]] = ()
    """Called first when the process is to end: say GoAway on the streams, so that their clients go elsewhere."""
    close: Callable[[], Awaitable[None]] = _nothing


@dataclass(slots=True)
class _Door:
    """Hold one listener and the rules of what is behind it."""

    server: grpc.aio.Server
    kinds: frozenset[CallerKind]
    rules: dict[str, MethodRule]
    services: list[str] = field(default_factory=list)

    def add(self, add_servicer: AddServicer, parts: ServiceParts) -> list[str]:
        """Put a servicer behind this door; return the names of its proto services."""
        recorder = _Recorder()
        add_servicer(cast("grpc.aio.Server", recorder))
        for name in recorder.names:
            self.rules.update(rules_of(name, parts.access, self.kinds, parts.refusals))
        add_servicer(self.server)
        self.services += recorder.names
        return recorder.names


class Host:
    """Run the doors and the workers of one or several services: `bind`, `add` each, `start`, `stop`."""

    def __init__(
        self, settings: ServiceSettings, *, clock: Clock | None = None, new_decision_id: Callable[[], str] | None = None
    ) -> None:
        self.settings = settings
        self._clock = clock or SystemClock()
        self._new_decision_id = new_decision_id or partial(secrets.token_hex, DECISION_ID_BYTES)
        self._throttle = Throttle(times=settings.authentication_failures_per_minute, monotonic=self._clock.monotonic)
        self._public = self._door(PUBLIC_KINDS, networks(settings.trusted_proxies))
        self._mesh = self._door(MESH_KINDS, ())
        self._health = HealthBoard()
        self._health_server: grpc.aio.Server | None = None
        self._parts: list[ServiceParts] = []
        self._started = False
        self._ending = False
        self._tasks: list[asyncio.Task[None]] = []

    def bind(self) -> ServiceSettings:
        """Take the ports and return the settings with those that the system chose. Raises StateError for a taken one."""
        settings = self.settings
        public = _bind(self._public.server, settings.public_host, settings.public_port, _server_tls(settings))
        mutual = _mutual_tls(settings)
        mesh = _bind(self._mesh.server, settings.mesh_host, settings.mesh_port, mutual)
        if settings.health_port is not None:
            self._health_server = grpc.aio.server(options=OPTIONS)
            _bind(self._health_server, settings.health_host, settings.health_port, None)
        self.settings = settings.bound(public_port=public, mesh_port=mesh)
        return self.settings

    def add(self, parts: ServiceParts) -> None:
        """Put a service behind the doors. Raises InvalidError if one of its RPCs does not say who may call."""
        for door, servicers in ((self._public, parts.public), (self._mesh, parts.mesh)):
            for add_servicer in servicers:
                names = door.add(add_servicer, parts)
                able = {name: parts.able[name] for name in names if name in parts.able}
                self._health.register(names, parts.access, able)
        self._parts.append(parts)

    async def start(self) -> None:
        """Open the doors and start the workers."""
        self._started = True
        self._serve_audit()
        for door in (self._public, self._mesh):
            self._health.serve_on(door.server)
            if self.settings.reflection:
                _reflect(door)
            await door.server.start()
        if self._health_server is not None:
            self._health.serve_on(self._health_server)
            await self._health_server.start()
        workers = [worker for parts in self._parts for worker in parts.workers]
        workers += [worker for parts in self._parts if parts.audit for worker in parts.audit.workers()]
        for worker in (*workers, Worker("watch_health", self._health.watch)):
            self._tasks.append(asyncio.create_task(supervise(worker, ending=self._is_ending), name=worker.name))
        log.info("server_started", public=self.settings.public_address, mesh=self.settings.mesh_address)

    async def stop(self) -> None:
        """Drain: say NOT_SERVING, send the streams away, let calls end within the grace, then close everything."""
        if self._started:
            log.info("server_draining")
        self._ending = True
        await self._health.drain()
        for parts in self._parts:
            for hook in parts.on_drain:
                await hook()
        grace = self.settings.drain_grace.total_seconds()
        servers = [self._public.server, self._mesh.server, *filter(None, [self._health_server])]
        await asyncio.gather(*(server.stop(grace) for server in servers))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for parts in reversed(self._parts):
            await parts.close()
        if self._started:
            log.info("server_stopped")

    async def wait_until_serving(self) -> None:
        """Return once every service knows who may do what."""
        await self._health.wait_until_serving()

    def _is_ending(self) -> bool:
        return self._ending

    def _serve_audit(self) -> None:
        """Put the audit logs of all services behind the public door, as one proto service."""
        keeping = [parts for parts in self._parts if parts.audit]
        if not keeping:
            return
        servicer = AuditServicer({parts.name: parts.audit for parts in keeping if parts.audit})
        add_servicer = partial(audit_pb2_grpc.add_AuditServiceServicer_to_server, servicer)
        self._health.register(self._public.add(add_servicer, keeping[0]), keeping[0].access)

    def _door(self, kinds: frozenset[CallerKind], trusted_proxies: tuple[Network, ...]) -> _Door:
        rules: dict[str, MethodRule] = {}
        manners = DoorManners(
            trust_domain=self.settings.trust_domain,
            clock=self._clock,
            new_decision_id=self._new_decision_id,
            throttle=self._throttle,
            trusted_proxies=trusted_proxies,
        )
        interceptor = ChassisInterceptor(rules, manners, reflection=self.settings.reflection)
        return _Door(grpc.aio.server(interceptors=[interceptor], options=OPTIONS), kinds, rules)


async def signalled() -> None:
    """Return when the process is asked to end, by SIGTERM or SIGINT."""
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked.set)
    try:
        await asked.wait()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


class _Recorder:
    """Stand in for a server, to learn which proto services a servicer brings."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def add_registered_method_handlers(self, name: str, _handlers: Any) -> None:
        """Note the name."""
        self.names.append(name)

    def add_generic_rpc_handlers(self, _handlers: Any) -> None:
        """Note nothing: generated code registers the same service by name as well."""


def _bind(server: grpc.aio.Server, host: str, port: int, credentials: grpc.ServerCredentials | None) -> int:
    address = f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"
    try:
        if credentials is None:
            return server.add_insecure_port(address)
        return server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise StateError(
            f"cannot listen on {address}: the port is taken or the address is not this machine's; choose another one",
            reason="ADDRESS_UNUSABLE",
        ) from error


def _server_tls(settings: ServiceSettings) -> grpc.ServerCredentials:
    """Show the CA's certificate with the leaf: a device that has only its digest, from a token, takes it from there."""
    key, chain = _key_pair(settings.public_files)
    try:
        chain = chain_with_authority(chain, _read(settings.ca))
    except ValueError as error:
        raise StateError(
            f"{settings.public_files.certificate} and {settings.ca} must hold PEM certificates",
            reason="CERTIFICATE_UNREADABLE",
        ) from error
    return grpc.ssl_server_credentials([(key, chain)])


def _mutual_tls(settings: ServiceSettings) -> grpc.ServerCredentials:
    roots = _read(settings.ca)
    return grpc.ssl_server_credentials([_key_pair(settings.mesh_files)], roots, require_client_auth=True)


def _key_pair(files: CertificateFiles) -> tuple[bytes, bytes]:
    return _read(files.key), _read(files.certificate)


def _read(path: Any) -> bytes:
    try:
        return cast("bytes", path.read_bytes())
    except OSError as error:
        raise StateError(f"cannot read {path}: {error.strerror}", reason="CERTIFICATE_UNREADABLE") from error


def _reflect(door: _Door) -> None:
    from grpc_reflection.v1alpha import reflection  # noqa: PLC0415 - behind its flag

    reflection.enable_server_reflection([*door.services, "grpc.health.v1.Health", reflection.SERVICE_NAME], door.server)
