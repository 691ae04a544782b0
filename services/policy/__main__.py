"""Put the policy service together: `python -m services.policy`, or a part of `epm serve`."""

import secrets
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol

import uuid_utils
from grpc.aio import Channel, Server

from epm.policy.v1 import agent_pb2_grpc, analysis_pb2_grpc, policies_pb2_grpc, revisions_pb2_grpc, rollouts_pb2_grpc
from services._chassis.access import AccessControl
from services._chassis.access_client import report_worker, watch_worker
from services._chassis.audit_log import AuditLog
from services._chassis.client import open_channel
from services._chassis.clock import Clock, SystemClock
from services._chassis.config import ServiceSettings
from services._chassis.db import Database
from services._chassis.migrate import upgrade
from services._chassis.policykeys import load_signing_keys
from services._chassis.refusal_writer import RefusalWriter
from services._chassis.run import run
from services._chassis.scope_tags import tags_of
from services._chassis.server import ServiceParts
from services._chassis.workers import Worker
from services.policy.admin_servicer.policies import PolicyServicer
from services.policy.agent_servicer import PolicyStreamServicer
from services.policy.analysis_servicer import AnalysisServicer
from services.policy.approvals import Approvals
from services.policy.clients.directory import DirectoryWatch, SettingsReports, SightingReports, UsedGroupsReports
from services.policy.clients.usage import UsageWatch
from services.policy.codec.agent import Speaker
from services.policy.codec.documents import MouldMaker
from services.policy.model.directory import DirectoryDevice
from services.policy.model.sightings import Sighting, certificate_used, suspected_clone
from services.policy.notices.channels import NoticeSettings
from services.policy.notices.composition import notice_workers
from services.policy.notices.reading import read_notices
from services.policy.open_streams import OpenStreams
from services.policy.ports import CatchUp, Deliveries
from services.policy.preparer import Preparer
from services.policy.presence import Presence
from services.policy.reporters import SettingsReporter, SightingReporter, UsedGroupsReporter
from services.policy.revision_servicer import RevisionServicer
from services.policy.rollout_servicer import RolloutServicer
from services.policy.store.bundles import SqlBundles
from services.policy.store.deliveries import deliveries_in
from services.policy.store.device_states import DeliveryStates
from services.policy.store.holders import SqlHolders, stream_name
from services.policy.store.objects import SqlStore
from services.policy.store.outbox import SqlOutbox
from services.policy.store.rollouts import SqlPictures
from services.policy.store.tables import AUDIT
from services.policy.streams.manners import Manners
from services.policy.usecases.admission import ending
from services.policy.usecases.analysis.drafted import Drafting
from services.policy.usecases.analysis.lint_desk import LintDesk, Newest
from services.policy.usecases.analysis.simulation import Simulation
from services.policy.usecases.delivery import Conversation
from services.policy.usecases.documents import PolicyBook
from services.policy.usecases.means import Means
from services.policy.usecases.newest import newest_corpus
from services.policy.usecases.rollout import Convergence
from services.policy.usecases.rollout_watch import PictureFeed
from services.policy.workers import CorpusFollower, DeliveryWriter

SERVICE = "policy"
NONCE_BYTES = 16
PROCESS_BYTES = 8


async def build(settings: ServiceSettings, clock: Clock | None = None) -> ServiceParts:
    """Open the database, bring its schema up to date, and hand over the service, ready to run."""
    clock, identity, told = clock or SystemClock(), settings.identity_of(SERVICE), read_notices(settings.notices_file)
    speaker = Speaker(load_signing_keys(settings.signing_key), tenant=settings.trust_domain)
    access = AccessControl(clock, bound=settings.access_bound)
    database = await Database.connect(settings.database_of(SERVICE), service=SERVICE)
    await upgrade(database)
    audit = await AuditLog.open(settings, database, AUDIT, clock)
    refused = RefusalWriter.on(database, AUDIT, clock.now)
    rbac = open_channel(settings.rbac, ca=settings.ca, identity=identity)
    device = open_channel(settings.device, ca=settings.ca, identity=identity)
    reporting = open_channel(settings.reporting, ca=settings.ca, identity=identity)
    usage = UsageWatch(reporting, clock)
    store, deliveries, directory = SqlStore(database), deliveries_in(database), DirectoryWatch(device)
    writer, streams = DeliveryWriter(deliveries), OpenStreams(deliveries, clock, most=settings.most_streams)
    book = PolicyBook(directory, MouldMaker().mould, deprovision_after=settings.deprovision_after)
    corpus = CorpusFollower(store, database.changes, book)
    catch_up = partial(_catch_up, store, corpus)
    reporter, used = _reporters(book, deliveries, device, clock, is_open=streams.is_open, catch_up=catch_up)
    preparer, process = Preparer(streams, writer, clock), secrets.token_hex(PROCESS_BYTES)
    presence = await _presence(SqlHolders(database, process), clock, streams, reporter)
    news = partial(_tell, book, preparer, reporter)
    _spread(news, corpus, directory, streams, reporter=reporter, used=used)
    bundles, pictures = SqlBundles(database), SqlPictures(database)
    linting = _lint_desk(partial(newest_corpus, store, book, corpus.at_least), directory, clock, usage)
    most, tags = settings.max_rules_per_policy, partial(tags_of, access)
    means = Means(directories=directory, linting=linting, most_rules=most, known_tags=tags)
    drafting = Drafting(store, book, corpus.at_least, means)
    feed = PictureFeed(pictures, changes=lambda: deliveries.changes, now=clock.now)
    convergence = Convergence(store, book, pictures=pictures, deliveries=deliveries, caught_up=corpus.at_least)
    sightings = SightingReporter(SightingReports(device), monotonic=clock.monotonic)
    admitted = partial(_admitted, corpus, directory, sightings.saw)
    approvals = _approvals(settings, database, book, corpus=corpus, streams=streams, access=access, clock=clock)
    _inform(approvals, store, directory)
    talk = partial(_conversation, book, writer, speaker, process=process, wait=settings.policy_heartbeat)
    manners = _manners(settings, clock, speaker=speaker, reporter=reporter, sightings=sightings, writer=writer)
    agents = PolicyStreamServicer(admitted, talk, streams, manners=replace(manners, mail=approvals.post))
    return ServiceParts(
        name=SERVICE,
        access=access,
        refusals=refused.refusals,
        audit=audit,
        public=[
            *_authoring(store, means, DeliveryStates(book, deliveries, bundles, clock), access, now=clock.now),
            _rollouts(convergence, feed, access, now=clock.now),
            _analysis(drafting, linting, book, deliveries, clock=clock),
            approvals.public(drafting, linting),
        ],
        mesh=[partial(agent_pb2_grpc.add_PolicyStreamServiceServicer_to_server, agents), approvals.mesh(admitted)],
        workers=[
            *(watch_worker(rbac, access), report_worker(rbac, access), Worker("watch_rollouts", feed.run)),
            *(part.worker() for part in (directory, database.changes, corpus, writer, preparer, streams)),
            *(part.worker() for part in (reporter, used, sightings, bundles, refused, presence, usage)),
            *approvals.workers(),
            *_notices(told, database, directory, clock),
        ],
        on_drain=[streams.drain, feed.close, approvals.watches.close],
        close=partial(
            _close, linting, writer, presence, approvals, refused, audit, rbac, device, reporting, deliveries, database
        ),
    )


class _Closed(Protocol):
    async def close(self) -> None: ...


async def _close(*parts: _Closed) -> None:
    """Close one part after the other."""
    for part in parts:
        await part.close()


class _News(Protocol):
    def __call__(self, devices: Iterable[str] | None = None, /) -> None: ...


def _spread(
    tell: _News,
    corpus: CorpusFollower,
    directory: DirectoryWatch,
    streams: OpenStreams,
    *,
    reporter: SettingsReporter,
    used: UsedGroupsReporter,
) -> None:
    """Have everybody hear of new policies and of new devices and groups."""
    corpus.on_change += [tell, used.wake]
    directory.on_identity += [reporter.retell, partial(_cut, streams, directory)]
    directory.on_change.append(tell)
    directory.on_connect += [reporter.forget, used.forget]


def _notices(told: NoticeSettings, database: Database, directory: DirectoryWatch, clock: Clock) -> list[Worker]:
    """Return what tells approvers of requests."""
    outbox, changes = SqlOutbox(database), database.changes
    return notice_workers(told, outbox, directory.directory, changes=changes, clock=clock, new_id=new_id)


def _approvals(
    settings: ServiceSettings,
    database: Database,
    book: PolicyBook,
    *,
    corpus: CorpusFollower,
    streams: OpenStreams,
    access: AccessControl,
    clock: Clock,
) -> Approvals:
    """Return what has to do with elevation requests; streams tell devices what becomes of theirs."""
    approvals = Approvals(database, book, corpus.at_least, access=access, clock=clock, settings=settings, new_id=new_id)
    approvals.post.on_news.append(streams.look)
    return approvals


def _inform(approvals: Approvals, store: SqlStore, directory: DirectoryWatch) -> None:
    """Have approvers hear of requests that changed, and of devices that got other tags."""
    store.on_requests.append(approvals.recent.take)
    directory.on_change.append(approvals.tags.hear)


def _lint_desk(newest: Newest, directory: DirectoryWatch, clock: Clock, usage: UsageWatch) -> LintDesk:
    return LintDesk(newest, directory, now=clock.now, monotonic=clock.monotonic, usage=usage.usage)


def _authoring(
    store: SqlStore, means: Means, states: DeliveryStates, access: AccessControl, *, now: Callable[[], datetime]
) -> list[Callable[[Server], None]]:
    """Return what puts the servicers of those who author on a server."""
    policies = PolicyServicer(store, means, states, access, now=now)
    revisions = RevisionServicer(store, means, access, now=now)
    return [
        partial(policies_pb2_grpc.add_PolicyServiceServicer_to_server, policies),
        partial(revisions_pb2_grpc.add_RevisionServiceServicer_to_server, revisions),
    ]


def _rollouts(
    convergence: Convergence, feed: PictureFeed, access: AccessControl, *, now: Callable[[], datetime]
) -> Callable[[Server], None]:
    """Return what puts the servicer of rollouts on a server."""
    rollouts = RolloutServicer(convergence, feed, access, now=now)
    return partial(rollouts_pb2_grpc.add_RolloutServiceServicer_to_server, rollouts)


def _reporters(
    book: PolicyBook,
    deliveries: Deliveries,
    device: Channel,
    clock: Clock,
    *,
    is_open: Callable[[str], bool],
    catch_up: CatchUp,
) -> tuple[SettingsReporter, UsedGroupsReporter]:
    settings = SettingsReporter(book, deliveries, SettingsReports(device), clock, is_open=is_open, catch_up=catch_up)
    return settings, UsedGroupsReporter(book, UsedGroupsReports(device), catch_up=catch_up)


def _analysis(
    drafting: Drafting, linting: LintDesk, book: PolicyBook, deliveries: Deliveries, *, clock: Clock
) -> Callable[[Server], None]:
    """Return what puts the servicer of questions about policies on a server."""
    servicer = AnalysisServicer(drafting, linting, Simulation(drafting, book, deliveries), now=clock.now)
    return partial(analysis_pb2_grpc.add_AnalysisServiceServicer_to_server, servicer)


async def _presence(holders: SqlHolders, clock: Clock, streams: OpenStreams, reporter: SettingsReporter) -> Presence:
    """Begin to say that this process lives, before it opens a stream."""
    await holders.begin(clock.now())
    presence = Presence(holders, clock)
    presence.on_missed.append(streams.send_away)
    presence.on_closed.append(reporter.look_at)
    return presence


async def _admitted(
    corpus: CorpusFollower, directory: DirectoryWatch, saw: Callable[[Sighting], None], *shown: str
) -> DirectoryDevice:
    """Return the device that showed its id and a serial number, once there is something to tell it.

    Raises as `DirectoryWatch.admitted` does.
    """
    device_id, serial = shown
    await corpus.begun()
    device = await directory.admitted(device_id, serial)
    if serial and serial == device.unused_certificate_serial:
        saw(certificate_used(device_id, serial))
    return device


async def _catch_up(store: SqlStore, corpus: CorpusFollower, seen: int) -> None:
    """Go on above a revision that the device service has seen, and read what is authored anew."""
    await corpus.at_least(await store.raise_revision(seen))


def _tell(
    book: PolicyBook, preparer: Preparer, reporter: SettingsReporter, _devices: Iterable[str] | None = None
) -> None:
    """Have everybody look at the devices that may have another document now."""
    news = book.news()
    preparer.look_at(news)
    reporter.changed(news)


def _cut(streams: OpenStreams, directory: DirectoryWatch, device_ids: Iterable[str]) -> None:
    """End the streams of devices that are let in no more."""
    streams.judge(partial(ending, directory.directory()), device_ids)


def _conversation(
    book: PolicyBook, writer: DeliveryWriter, speaker: Speaker, device_id: str, *, process: str, wait: timedelta
) -> Conversation:
    return Conversation(
        device_id,
        stream_name(process, new_id()),
        book=book,
        deliveries=writer,
        new_nonce=new_nonce,
        keys=speaker.keys,
        wait=wait,
    )


def _manners(
    settings: ServiceSettings,
    clock: Clock,
    *,
    speaker: Speaker,
    reporter: SettingsReporter,
    sightings: SightingReporter,
    writer: DeliveryWriter,
) -> Manners:
    return Manners(
        speaker=speaker,
        clock=clock,
        on_answer=reporter.heard,
        on_clone=lambda device_id: sightings.saw(suspected_clone(device_id)),
        calm=writer.calm,
        heartbeat=settings.policy_heartbeat,
    )


def new_nonce() -> bytes:
    """Return the nonce of a new offer."""
    return secrets.token_bytes(NONCE_BYTES)


def new_id() -> str:
    """Return a new identifier; later ones sort after earlier ones."""
    return str(uuid_utils.uuid7())


if __name__ == "__main__":
    run({SERVICE: build})
