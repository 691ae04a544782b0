"""Put together what has to do with elevation requests."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from grpc.aio import Server

from epm.policy.v1 import requests_pb2_grpc
from services._chassis.access import AccessControl
from services._chassis.clock import Clock
from services._chassis.config import ServiceSettings
from services._chassis.db import Database
from services._chassis.errors import UnavailableError
from services._chassis.workers import Worker
from services.policy.device_request_servicer import Admit, DeviceRequestServicer
from services.policy.ports import Linting
from services.policy.request_servicer import ElevationRequestServicer
from services.policy.store.elevation_requests import SqlElevationRequests
from services.policy.store.given_approvals import SqlGivenApprovals
from services.policy.store.old_requests import SqlOldRequests
from services.policy.store.recent_changes import RecentChanges
from services.policy.store.recent_requests import SqlRecentRequests
from services.policy.store.request_outcomes import SqlGrantUses, SqlOutcomes
from services.policy.store.undelivered import SqlUndelivered
from services.policy.usecases.analysis.drafted import Drafting
from services.policy.usecases.documents import PolicyBook
from services.policy.usecases.newest import CaughtUp
from services.policy.usecases.requests.asking import Asking
from services.policy.usecases.requests.candidates import Candidates
from services.policy.usecases.requests.deciding import Deciding
from services.policy.usecases.requests.denials import Denials
from services.policy.usecases.requests.endings import Endings
from services.policy.usecases.requests.keeping import KeptOutcomes
from services.policy.usecases.requests.pace import Pace
from services.policy.usecases.requests.post import Post
from services.policy.usecases.requests.retention import Retention
from services.policy.usecases.requests.sight import TagChanges
from services.policy.usecases.requests.today import PolicyOfToday
from services.policy.usecases.requests.undelivered import UndeliveredDesk
from services.policy.usecases.requests.watching import RequestWatches


class Approvals:
    """Hold the parts together."""

    def __init__(
        self,
        database: Database,
        book: PolicyBook,
        caught_up: CaughtUp,
        *,
        access: AccessControl,
        clock: Clock,
        settings: ServiceSettings,
        new_id: Callable[[], str],
    ) -> None:
        self._store, self._uses = SqlElevationRequests(database), SqlGrantUses(database)
        self._given, self._access = SqlGivenApprovals(database), access
        self._undelivered, self._clock = SqlUndelivered(database), clock
        today = PolicyOfToday(book)
        self._asking = Asking(
            self._store,
            SqlRecentRequests(database),
            today,
            new_id=new_id,
            review_within=settings.request_review_deadline,
        )
        self._denials = Denials(book.directory, today)
        self._deciding = Deciding(
            self._store,
            book.directory,
            today=today,
            denials=self._denials,
            is_user=self._is_user,
            access_cap=settings.request_access_cap,
        )
        self._retention = Retention(
            SqlOldRequests(database), settings.request_retention, now=clock.now, monotonic=clock.monotonic
        )
        self._endings = Endings(self._store, self._store, book, now=clock.now)
        outcomes = SqlOutcomes(database)
        self._kept = KeptOutcomes(outcomes, outcomes.keep_all)
        self.recent = RecentChanges(self._store, self._kept)
        followed = self.recent.revisions
        self.post = Post(self.recent, wait=followed.wait, caught_up=caught_up)
        self.tags = TagChanges(book.directory)
        self.watches = RequestWatches(
            self.recent, followed, self._deciding.sees, tags=self.tags, monotonic=clock.monotonic
        )

    def public(self, drafting: Drafting, linting: Linting) -> Callable[[Server], None]:
        """Return what puts the servicer of approvers on a server; rules that it proposes are drafted and linted."""
        servicer = ElevationRequestServicer(
            self._deciding,
            self._store,
            self.watches,
            Candidates(
                self._store,
                self._given,
                drafting,
                linting,
                denials=self._denials,
                sees=self._deciding.sees,
                monotonic=self._clock.monotonic,
            ),
            undelivered=UndeliveredDesk(self._undelivered, sees=self._deciding.sees),
            access=self._access,
            now=self._clock.now,
        )
        return partial(requests_pb2_grpc.add_ElevationRequestServiceServicer_to_server, servicer)

    def mesh(self, admit: Admit) -> Callable[[Server], None]:
        """Return what puts the servicer of devices on a server."""
        pace = Pace(self._clock.monotonic)
        servicer = DeviceRequestServicer(admit, self._asking, self._uses, pace=pace, now=self._clock.now)
        return partial(requests_pb2_grpc.add_DeviceRequestServiceServicer_to_server, servicer)

    def workers(self) -> Sequence[Worker]:
        """Return what runs beside the calls."""
        return tuple(part.worker() for part in (self._endings, self._retention, self.post, self._kept))

    async def close(self) -> None:
        """Write what devices told last; where that cannot be, it is told to them again."""
        with suppress(UnavailableError):
            await self._kept.close()

    def _is_user(self, principal: str, user: str) -> bool:
        """Tell whether an approver is the user of a device whom it names so."""
        return self._access.access().endpoint_users.includes(principal, user)
