"""Elevation requests for approvers: decode, call one use case, encode."""

from collections.abc import Callable
from contextlib import aclosing
from datetime import datetime
from functools import partial
from typing import Any, TypeAlias

import grpc.aio

from epm.policy.v1 import requests_pb2, requests_pb2_grpc
from services._chassis.access import AccessControl
from services._chassis.caller import current_caller, current_permit
from services._chassis.permits import Permit
from services.policy.codec import candidates, requests
from services.policy.codec.undelivered import undelivered_to_proto
from services.policy.usecases.analysis.turns import Turns
from services.policy.usecases.requests.candidates import Candidates
from services.policy.usecases.requests.deciding import Approver, Deciding, ListWanted
from services.policy.usecases.requests.details import MOST_USES_SHOWN, RequestDetails
from services.policy.usecases.requests.undelivered import UndeliveredDesk
from services.policy.usecases.requests.watching import RequestWatches
from services.policy.usecases.scope import READ

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

OF_ONE_CALLER = 2
"""Lists of rule candidates that are made at once for one caller: each takes as much work as many proposals of rules."""
OF_ALL = 4

LISTS_OF_ONE_CALLER = 4
"""Lists of requests that are read at once for one caller: each holds a connection to the database while it looks through many."""
LISTS_OF_ALL = 10
"""Half the connections that a process has at most."""


class ElevationRequestServicer(requests_pb2_grpc.ElevationRequestServiceServicer):
    """Answer `epm.policy.v1.ElevationRequestService`."""

    def __init__(
        self,
        deciding: Deciding,
        details: RequestDetails,
        watches: RequestWatches,
        often: Candidates,
        *,
        undelivered: UndeliveredDesk,
        access: AccessControl,
        now: Callable[[], datetime],
    ) -> None:
        self._deciding = deciding
        self._details = details
        self._watches = watches
        self._often = often
        self._undelivered = undelivered
        self._access = access
        self._now = now
        self._turns = Turns(of_one=OF_ONE_CALLER, of_all=OF_ALL)
        self._lists = Turns(of_one=LISTS_OF_ONE_CALLER, of_all=LISTS_OF_ALL, about="requests")

    async def ListElevationRequests(
        self, request: requests_pb2.ListElevationRequestsRequest, _context: Context
    ) -> requests_pb2.ListElevationRequestsResponse:
        """List requests, newest first."""
        wanted = ListWanted(filter=request.filter, page_size=request.page_size, page_token=request.page_token)
        with self._lists.taken(current_caller().principal):
            page = await self._deciding.page(wanted, current_permit(), self._now)
        return requests_pb2.ListElevationRequestsResponse(
            requests=map(requests.told_to_proto, page.items), next_page_token=page.next_token
        )

    async def GetElevationRequest(
        self, request: requests_pb2.GetElevationRequestRequest, _context: Context
    ) -> requests_pb2.GetElevationRequestResponse:
        """Return one request with its certificate chain, the attempts that used it, and what denies it today."""
        shown = await self._deciding.show(request.id, self._approver())
        return requests_pb2.GetElevationRequestResponse(
            request=requests.told_to_proto(shown.told),
            certificates=shown.certificates,
            uses=map(requests.use_to_proto, await self._details.uses(request.id, MOST_USES_SHOWN)),
            denied_by=requests.denial_to_proto(shown.denied_by),
        )

    async def WatchElevationRequests(  # type: ignore[override]
        self, request: requests_pb2.WatchElevationRequestsRequest, context: Context
    ) -> None:
        """Stream requests as they change, as long as the caller has the right."""
        caller = current_caller()
        check = partial(self._access.check, caller.principal, current_permit().right, caller.groups)
        async with aclosing(self._watches.watch(request.cursor, check, principal=caller.principal)) as watch:
            async for passage in watch:
                message = requests_pb2.WatchElevationRequestsResponse(
                    requests=map(requests.told_to_proto, passage.requests), cursor=str(passage.reached)
                )
                await self._watches.taken(context.write(message))

    async def ApproveElevationRequest(
        self, request: requests_pb2.ApproveElevationRequestRequest, _context: Context
    ) -> requests_pb2.ApproveElevationRequestResponse:
        """Approve a pending request."""
        told = await self._deciding.approve(requests.approval_from_proto(request), self._approver())
        return requests_pb2.ApproveElevationRequestResponse(request=requests.told_to_proto(told))

    async def DenyElevationRequest(
        self, request: requests_pb2.DenyElevationRequestRequest, _context: Context
    ) -> requests_pb2.DenyElevationRequestResponse:
        """Deny a pending request."""
        told = await self._deciding.deny(request.id, request.reason, self._approver())
        return requests_pb2.DenyElevationRequestResponse(request=requests.told_to_proto(told))

    async def RevokeElevationRequest(
        self, request: requests_pb2.RevokeElevationRequestRequest, _context: Context
    ) -> requests_pb2.RevokeElevationRequestResponse:
        """Take an approval back."""
        told = await self._deciding.revoke(request.id, request.reason, self._approver())
        return requests_pb2.RevokeElevationRequestResponse(request=requests.told_to_proto(told))

    async def ListRuleCandidates(
        self, request: requests_pb2.ListRuleCandidatesRequest, _context: Context
    ) -> requests_pb2.ListRuleCandidatesResponse:
        """List files that were approved more than once, each with the rule that would make approvals needless."""
        caller, now = current_caller(), self._now()
        reading = self._reading(now)
        with self._turns.taken(caller.principal):
            wanted = candidates.wanted_from_proto(request, now)
            found = await self._often.find(wanted, current_permit(), reading, now)
        return candidates.candidates_to_proto(found)

    async def ListUndeliveredNotices(
        self, request: requests_pb2.ListUndeliveredNoticesRequest, _context: Context
    ) -> requests_pb2.ListUndeliveredNoticesResponse:
        """List messages to approvers that were not delivered."""
        with self._lists.taken(current_caller().principal):
            page = await self._undelivered.page(
                current_permit(), given_up=request.given_up, page_size=request.page_size, page_token=request.page_token
            )
        return requests_pb2.ListUndeliveredNoticesResponse(
            notices=map(undelivered_to_proto, page.items), next_page_token=page.next_token
        )

    async def RetryNotices(
        self, request: requests_pb2.RetryNoticesRequest, _context: Context
    ) -> requests_pb2.RetryNoticesResponse:
        """Have messages that were given up be sent again."""
        retried = await self._undelivered.retry(request.ids, current_permit(), self._now())
        return requests_pb2.RetryNoticesResponse(retried=retried)

    def _approver(self) -> Approver:
        reading = self._reading(self._now()) or Permit()
        return Approver(principal=current_caller().principal, permit=current_permit(), clock=self._now, reading=reading)

    def _reading(self, now: datetime) -> Permit | None:
        """Return what of policies the caller may read."""
        caller = current_caller()
        return self._access.access().permit(caller.principal, READ, now, caller.groups)
