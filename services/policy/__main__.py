"""Put the policy service together: `python -m services.policy`, or a part of `epm serve`."""

import secrets
from functools import partial

import uuid_utils

from epm.policy.v1 import agent_pb2_grpc, policies_pb2_grpc
from services._chassis.access import AccessControl
from services._chassis.access_client import report_worker, watch_worker
from services._chassis.audit_log import AuditLog
from services._chassis.client import open_channel
from services._chassis.clock import Clock, SystemClock
from services._chassis.config import ServiceSettings
from services._chassis.db import Database
from services._chassis.migrate import upgrade
from services._chassis.pki import load_signing_key
from services._chassis.refusal_writer import RefusalWriter
from services._chassis.run import run
from services._chassis.server import ServiceParts
from services.policy.admin_servicer import PolicyServicer
from services.policy.agent_servicer import PolicyStreamServicer
from services.policy.clients import DirectoryWatch, SettingsReports, UsedGroupsReports
from services.policy.codec.agent import DocumentEncoder, Speaker
from services.policy.model.directory import DirectoryDevice
from services.policy.store.deliveries import SqlDeliveries
from services.policy.store.device_states import DeliveryStates
from services.policy.store.objects import SqlStore
from services.policy.store.tables import AUDIT
from services.policy.streams import OpenStreams
from services.policy.usecases.delivery import Conversation
from services.policy.usecases.documents import PolicyBook
from services.policy.workers import CorpusFollower, DeliveryWriter, SettingsReporter, UsedGroupsReporter

SERVICE = "policy"
NONCE_BYTES = 16


async def build(settings: ServiceSettings, clock: Clock | None = None) -> ServiceParts:
    """Open the database, bring its schema up to date, and hand over the service, ready to run."""
    clock = clock or SystemClock()
    speaker = Speaker(load_signing_key(settings.signing_key), tenant=settings.trust_domain)
    access = AccessControl(clock, bound=settings.access_bound)
    identity = settings.identity_of(SERVICE)
    database = await Database.connect(settings.database_of(SERVICE), service=SERVICE)
    await upgrade(database)
    audit = await AuditLog.open(settings, database, AUDIT, clock)
    refused = RefusalWriter.on(database, AUDIT, clock.now)
    rbac = open_channel(settings.rbac, ca=settings.ca, identity=identity)
    device = open_channel(settings.device, ca=settings.ca, identity=identity)
    store, deliveries, directory = SqlStore(database), SqlDeliveries(database), DirectoryWatch(device)
    writer, streams = DeliveryWriter(deliveries), OpenStreams(deliveries, clock)
    book = PolicyBook(directory, DocumentEncoder().encode, deprovision_after=settings.deprovision_after)
    corpus = CorpusFollower(store, database.changes, book)
    reporter = SettingsReporter(book, deliveries, SettingsReports(device), clock)
    used = UsedGroupsReporter(book, UsedGroupsReports(device))
    corpus.on_change += [partial(streams.wake, None), partial(reporter.look_at, None), used.wake]
    directory.on_change += [streams.wake, reporter.look_at]
    directory.on_connect += [reporter.forget, used.wake]
    administrators = PolicyServicer(
        store, directory, DeliveryStates(directory, deliveries, clock), access, now=clock.now
    )
    agents = PolicyStreamServicer(
        partial(admitted, corpus, directory),
        lambda device_id: Conversation(device_id, new_id(), book=book, deliveries=writer, new_nonce=new_nonce),
        streams,
        speaker=speaker,
        on_answer=lambda device_id: reporter.look_at([device_id]),
        clock=clock,
    )

    async def close() -> None:
        await writer.close()
        await refused.close()
        await audit.close()
        await rbac.close()
        await device.close()
        await database.close()

    return ServiceParts(
        name=SERVICE,
        access=access,
        refusals=refused.refusals,
        audit=audit,
        public=[partial(policies_pb2_grpc.add_PolicyServiceServicer_to_server, administrators)],
        mesh=[partial(agent_pb2_grpc.add_PolicyStreamServiceServicer_to_server, agents)],
        workers=[
            watch_worker(rbac, access),
            report_worker(rbac, access),
            *(
                part.worker()
                for part in (directory, database.changes, corpus, writer, streams, reporter, used, refused)
            ),
        ],
        on_drain=[streams.drain],
        close=close,
    )


async def admitted(corpus: CorpusFollower, directory: DirectoryWatch, device_id: str) -> DirectoryDevice:
    """Return the device once there is something to tell it. Raises as `DirectoryWatch.admitted` does."""
    await corpus.begun()
    return await directory.admitted(device_id)


def new_nonce() -> bytes:
    """Return the nonce of a new offer."""
    return secrets.token_bytes(NONCE_BYTES)


def new_id() -> str:
    """Return a new identifier; later ones sort after earlier ones."""
    return str(uuid_utils.uuid7())


if __name__ == "__main__":
    run({SERVICE: build})
