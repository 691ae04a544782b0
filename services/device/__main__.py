"""Put the device service together: `python -m services.device`, or a part of `epm serve`."""

import secrets
from functools import partial

import uuid_utils

from epm.device.v1 import agent_pb2_grpc, devices_pb2_grpc, groups_pb2_grpc, lifecycle_pb2_grpc
from services._chassis import pki
from services._chassis.access import AccessControl
from services._chassis.access_client import report_worker, watch_worker
from services._chassis.audit_log import AuditLog
from services._chassis.client import open_channel
from services._chassis.clock import Clock, SystemClock
from services._chassis.config import ServiceSettings
from services._chassis.db import Database
from services._chassis.migrate import upgrade
from services._chassis.refusal_writer import RefusalWriter
from services._chassis.run import run
from services._chassis.server import AddServicer, ServiceParts
from services.device.admin_servicer.devices import DeviceServicer
from services.device.admin_servicer.groups import GroupServicer
from services.device.agent_servicer import DeviceAgentServicer, DirectoryServicer, EnrolmentServicer
from services.device.model.installation import Installation, PolicyKey
from services.device.model.tokens import token_text
from services.device.ports import Store
from services.device.store.sql import SqlStore
from services.device.store.tables import AUDIT
from services.device.streams import DirectoryStreams
from services.device.usecases.bounds import Bounds
from services.device.usecases.certificates import Vigilance
from services.device.workers import DeprovisionSweep, sweep_period

SERVICE = "device"
SECRET_BYTES = 32


async def build(settings: ServiceSettings, clock: Clock | None = None) -> ServiceParts:
    """Open the database, bring its schema up to date, and hand over the service, ready to run."""
    clock = clock or SystemClock()
    installation = installation_of(settings)
    database = await Database.connect(settings.database_of(SERVICE), service=SERVICE)
    await upgrade(database)
    audit = await AuditLog.open(settings, database, AUDIT, clock)
    store = SqlStore(database)
    access = AccessControl(clock, bound=settings.access_bound)
    rbac = open_channel(settings.rbac, ca=settings.ca, identity=settings.identity_of(SERVICE))
    refused = RefusalWriter.on(database, AUDIT, clock.now)
    streams = DirectoryStreams(store, database.changes)
    vigilance = Vigilance(quarantines=settings.on_suspected_clone == "quarantine")
    directory = DirectoryServicer(
        store, streams, now=clock.now, deprovision_after=settings.deprovision_after, vigilance=vigilance
    )
    bounds = Bounds(monotonic=clock.monotonic, certificate_lifetime=settings.device_certificate_lifetime)
    agents = DeviceAgentServicer(
        store,
        installation,
        now=clock.now,
        check_in_interval=settings.check_in_interval,
        bounds=bounds,
        vigilance=vigilance,
    )

    async def close() -> None:
        await refused.close()
        await audit.close()
        await rbac.close()
        await database.close()

    return ServiceParts(
        name=SERVICE,
        access=access,
        refusals=refused.refusals,
        audit=audit,
        public=public_door(store, installation, access, clock, bounds=bounds),
        mesh=[
            partial(agent_pb2_grpc.add_DeviceAgentServiceServicer_to_server, agents),
            partial(lifecycle_pb2_grpc.add_DirectoryServiceServicer_to_server, directory),
        ],
        workers=[
            watch_worker(rbac, access),
            report_worker(rbac, access),
            database.changes.worker(),
            refused.worker(),
            DeprovisionSweep(store, clock, period=sweep_period(settings.deprovision_after)).worker(),
        ],
        on_drain=[streams.drain],
        close=close,
    )


def public_door(
    store: Store, installation: Installation, access: AccessControl, clock: Clock, *, bounds: Bounds
) -> list[AddServicer]:
    """Return what enrols devices and what serves administrators."""
    enrolment = EnrolmentServicer(store, installation, bounds=bounds, now=clock.now, new_id=new_id)
    devices = DeviceServicer(store, access, now=clock.now, new_id=new_id, new_secret=partial(new_secret, installation))
    groups = GroupServicer(store, access, now=clock.now)
    return [
        partial(agent_pb2_grpc.add_EnrolmentServiceServicer_to_server, enrolment),
        partial(devices_pb2_grpc.add_DeviceServiceServicer_to_server, devices),
        partial(groups_pb2_grpc.add_GroupServiceServicer_to_server, groups),
    ]


def installation_of(settings: ServiceSettings) -> Installation:
    """Read the CA and the policy keys, and say where the services are. Raises StateError for a file that is unfit."""
    keys = pki.load_policy_public_keys(settings.policy_public_keys)
    return Installation(
        authority=pki.load_authority(settings.ca, settings.ca_key),
        trust_domain=settings.trust_domain,
        policy_address=settings.advertised_policy or settings.mesh_address,
        reporting_address=settings.advertised_reporting or settings.mesh_address,
        device_address=settings.advertised_device or settings.mesh_address,
        policy_keys=tuple(PolicyKey(pki.policy_key_id(key), key.public_bytes_raw()) for key in keys),
        certificate_lifetime=settings.device_certificate_lifetime,
    )


def new_id() -> str:
    """Return a new identifier; later ones sort after earlier ones."""
    return str(uuid_utils.uuid7())


def new_secret(installation: Installation) -> str:
    """Return the text of a new enrolment token, which tells the installation's CA from others."""
    return token_text(secrets.token_urlsafe(SECRET_BYTES), installation.fingerprint)


if __name__ == "__main__":
    run({SERVICE: build})
