"""Put the reporting service together: `python -m services.reporting`, or a part of `epm serve`."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from epm.reporting.v1 import export_pb2_grpc, insights_pb2_grpc, intake_pb2_grpc, reports_pb2_grpc, usage_pb2_grpc
from services._chassis.access import AccessControl
from services._chassis.access_client import report_worker, watch_worker
from services._chassis.audit_log import AuditLog
from services._chassis.client import open_channel
from services._chassis.clock import Clock, SystemClock
from services._chassis.config import ServiceSettings
from services._chassis.db import Database
from services._chassis.logging import FORMATS
from services._chassis.migrate import upgrade
from services._chassis.refusal_writer import RefusalWriter
from services._chassis.run import run
from services._chassis.server import AddServicer, ServiceParts
from services._chassis.workers import Worker
from services.reporting.admin_servicer import ReportingServicer
from services.reporting.agent_servicer import SERVICE_NAME, EventStreamServicer, add_to_server
from services.reporting.clients import CertificateSightings, DirectoryWatch
from services.reporting.codec.intake import again
from services.reporting.consumers import ConsumerDesk
from services.reporting.export_servicer import ExportServicer
from services.reporting.exporting import Exports
from services.reporting.insights_servicer import InsightsServicer
from services.reporting.intake import Retries
from services.reporting.intake_servicer import IntakeServicer
from services.reporting.model.devices import Device
from services.reporting.model.events import Batch
from services.reporting.model.groups import DirectoryMemberships
from services.reporting.model.intake import LetterBody
from services.reporting.open_streams import OpenStreams
from services.reporting.reportexport.reports import Sources, walks_of
from services.reporting.reportexport.serving import ReportExports
from services.reporting.store.apart import SinkApart
from services.reporting.store.closing import SqlClosing
from services.reporting.store.consumers import SqlConsumers
from services.reporting.store.devices import SqlDeviceRecords
from services.reporting.store.insights import SqlInsights
from services.reporting.store.intake import SqlIntake
from services.reporting.store.readiness import SqlReadiness
from services.reporting.store.reports import SqlReports
from services.reporting.store.retention import Keep, SqlRetention, ahead_of
from services.reporting.store.snapshots import SqlSnapshots
from services.reporting.store.stored import SqlStored
from services.reporting.store.tables import AUDIT
from services.reporting.store.usage import SqlUsage
from services.reporting.store.wire import Opening
from services.reporting.turns import Turns
from services.reporting.usage_servicer import UsageServicer
from services.reporting.watching import Watches
from services.reporting.workers import GroupCommitWriter, closing_worker, purge_worker

SERVICE = "reporting"


async def build(settings: ServiceSettings, clock: Clock | None = None) -> ServiceParts:
    """Open the database, bring its schema up to date, and hand over the service, ready to run."""
    clock = clock or SystemClock()
    access = AccessControl(clock, bound=settings.access_bound)
    database = await Database.connect(settings.database_of(SERVICE), service=SERVICE)
    await upgrade(database)
    audit = await AuditLog.open(settings, database, AUDIT, clock)
    refused = RefusalWriter.on(database, AUDIT, clock.now)
    sink, streams = _sink(settings, database, clock), OpenStreams()
    writer = GroupCommitWriter(sink)
    identity = settings.identity_of(SERVICE)
    rbac = open_channel(settings.rbac, ca=settings.ca, identity=identity)
    device = open_channel(settings.device, ca=settings.ca, identity=identity)
    directory = DirectoryWatch(device, SqlDeviceRecords(database))
    directory.on_change.append(streams.follow)
    turns = Turns()
    front = _front(database, DirectoryMemberships(directory.directory), access, clock, turns=turns)
    certificates = CertificateSightings(device)
    events = EventStreamServicer(partial(_admitted, directory, certificates), streams, writer, clock)

    async def close() -> None:
        await front.exports.close()
        await front.files.guests.idle()
        await writer.close()
        await sink.close()
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
        public=[
            *front.public,
            partial(
                intake_pb2_grpc.add_IntakeServiceServicer_to_server,
                _intake(database, writer, directory, clock, turns=turns),
            ),
        ],
        mesh=[
            partial(add_to_server, events),
            partial(usage_pb2_grpc.add_UsageServiceServicer_to_server, UsageServicer(SqlUsage(database))),
        ],
        workers=[
            watch_worker(rbac, access),
            database.changes.worker(),
            report_worker(rbac, access),
            *(part.worker() for part in (directory, writer, sink, certificates, refused)),
            *_caretakers(settings, database, clock),
        ],
        able={SERVICE_NAME: sink.able},
        on_drain=[streams.drain, front.watches.close, front.files.close],
        close=close,
    )


def _caretakers(settings: ServiceSettings, database: Database, clock: Clock) -> Sequence[Worker]:
    """Return who sees to what is stored: who purges what is old, and who closes days that are over."""
    keep, ahead = Keep(events=settings.event_retention, counts=settings.rollup_retention), ahead_of(clock)
    retention = SqlRetention(database, keep, clock.now, ahead=ahead)
    return (
        purge_worker(retention.purge),
        closing_worker(SqlClosing(database, clock.now, ahead=ahead).close),
    )


def _sink(settings: ServiceSettings, database: Database, clock: Clock) -> SinkApart:
    """Return what stores events, by a process that is told all that it has to know."""
    opening = Opening(
        url=database.url.render_as_string(hide_password=False),
        log_level=settings.log_level,
        log_as_json=FORMATS[settings.log_format],
        environment=dict(os.environ),
    )
    return SinkApart(opening, database.changes.announce, monotonic=clock.monotonic)


@dataclass(frozen=True, slots=True)
class _Front:
    """What serves administrators, and what of it has to end before the database is closed."""

    watches: Watches
    exports: Exports
    files: ReportExports
    public: Sequence[AddServicer]


def _front(
    database: Database, groups: DirectoryMemberships, access: AccessControl, clock: Clock, *, turns: Turns
) -> _Front:
    """Put together what answers questions about attempts."""
    watches = Watches(SqlStored(database), database.changes, monotonic=clock.monotonic)
    reports = ReportingServicer(SqlReports(database), watches, access, groups, turns=turns)
    exports = Exports(watches, SqlConsumers(database))
    consumers = ConsumerDesk(SqlConsumers(database), SqlStored(database), exports.open.end, clock.now)
    sources = Sources(
        snapshots=SqlSnapshots(database),
        reports=SqlReports(database),
        insights=SqlInsights(database),
        readiness=SqlReadiness(database),
        now=clock.now,
    )
    files = ReportExports(walks_of(sources))
    insights = InsightsServicer(SqlInsights(database), SqlReadiness(database), clock.now, groups, turns=turns)
    public = [
        partial(reports_pb2_grpc.add_ReportingServiceServicer_to_server, reports),
        partial(
            export_pb2_grpc.add_ExportServiceServicer_to_server,
            ExportServicer(exports, files, consumers, access, groups=groups),
        ),
        partial(insights_pb2_grpc.add_InsightsServiceServicer_to_server, insights),
    ]
    return _Front(watches, exports, files, public)


def _intake(
    database: Database, writer: GroupCommitWriter, directory: DirectoryWatch, clock: Clock, *, turns: Turns
) -> IntakeServicer:
    """Return what shows dead letters and gaps; what it tries again goes the way of all events."""

    def name(device_id: str) -> str:
        known = directory.directory.devices.get(device_id)
        return "" if known is None else known.name

    def read(found: LetterBody, received: int) -> tuple[Batch, str]:
        return again(found, name(found.letter.device_id) or found.letter.device_id, received)

    store = SqlIntake(database)
    return IntakeServicer(store, Retries(store, writer.store, read, clock.now), name, turns=turns)


async def _admitted(
    directory: DirectoryWatch, certificates: CertificateSightings, device_id: str, serial: str
) -> Device:
    """Return the device; tell of a certificate that was not used before. Raises as `DirectoryWatch.admitted` does."""
    device = await directory.admitted(device_id, serial)
    if serial and serial == device.unused_certificate_serial:
        certificates.used(device_id, serial)
    return device


if __name__ == "__main__":
    run({"reporting": build})
