"""A server that takes requests of a device, without a connection, and what it says of them."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TypeAlias, TypeVar

import grpc
import grpc.aio

from epm.policy.v1 import requests_pb2, requests_pb2_grpc
from tests.fakes.agent import DEVICE_ID, DEVICE_NAME, NOW

RequestT = TypeVar("RequestT")
ResponseT = TypeVar("ResponseT")
Submit: TypeAlias = requests_pb2.SubmitElevationRequestRequest
Submitted: TypeAlias = requests_pb2.SubmitElevationRequestResponse
Cancel: TypeAlias = requests_pb2.CancelElevationRequestRequest
Cancelled: TypeAlias = requests_pb2.CancelElevationRequestResponse
Report: TypeAlias = requests_pb2.ReportGrantUsesRequest
Reported: TypeAlias = requests_pb2.ReportGrantUsesResponse
PENDING = requests_pb2.ELEVATION_REQUEST_STATE_PENDING
APPROVED = requests_pb2.ELEVATION_REQUEST_STATE_APPROVED
DENIED = requests_pb2.ELEVATION_REQUEST_STATE_DENIED
CANCELLED = requests_pb2.ELEVATION_REQUEST_STATE_CANCELLED
EXPIRED = requests_pb2.ELEVATION_REQUEST_STATE_EXPIRED
REVOKED = requests_pb2.ELEVATION_REQUEST_STATE_REVOKED
COMPLETED = requests_pb2.ELEVATION_REQUEST_STATE_COMPLETED


def elevation_request(
    identifier: str = "request-1",
    state: "requests_pb2.ElevationRequestState.ValueType" = PENDING,
    *,
    user: str = "alice",
    reason: str = "",
    submitted: datetime = NOW,
    max_uses: int = 0,
) -> requests_pb2.ElevationRequest:
    """Give a request as the server tells it."""
    found = requests_pb2.ElevationRequest(
        id=identifier, state=state, device_id=DEVICE_ID, device_name=DEVICE_NAME, user=user, justification="to work"
    )
    found.file.path, found.file.sha256 = "/opt/tool", "a" * 64
    found.submitted.FromDatetime(submitted)
    found.review_deadline.FromDatetime(submitted + timedelta(days=1))
    if state in {APPROVED, REVOKED, COMPLETED}:
        found.access.until.FromDatetime(submitted + timedelta(hours=8))
        found.access.max_uses = max_uses
    if state in {APPROVED, DENIED}:
        found.review.reason = reason
    elif reason:
        found.end.reason = reason
    return found


class FakeRequestService(requests_pb2_grpc.DeviceRequestServiceServicer):
    """Takes requests in and keeps what devices say; answers with `refusal` where the test says so."""

    def __init__(self) -> None:
        self.submitted: list[Submit] = []
        self.cancelled: list[Cancel] = []
        self.reports: asyncio.Queue[Report] = asyncio.Queue()
        self.refusal: tuple[grpc.StatusCode, str] | None = None
        self.submitted_at = NOW

    async def SubmitElevationRequest(
        self,
        request: Submit,
        context: grpc.aio.ServicerContext[Submit, Submitted],
    ) -> Submitted:
        await self._refuse(context)
        self.submitted.append(request)
        identifier = f"request-{len(self.submitted)}"
        found = elevation_request(identifier, user=request.user, submitted=self.submitted_at)
        found.file.CopyFrom(request.file)
        return Submitted(request=found)

    async def CancelElevationRequest(
        self,
        request: Cancel,
        context: grpc.aio.ServicerContext[Cancel, Cancelled],
    ) -> Cancelled:
        await self._refuse(context)
        self.cancelled.append(request)
        found = elevation_request(request.id, CANCELLED, user=request.user, submitted=self.submitted_at)
        return Cancelled(request=found)

    async def ReportGrantUses(
        self,
        request: Report,
        context: grpc.aio.ServicerContext[Report, Reported],
    ) -> Reported:
        await self._refuse(context)
        self.reports.put_nowait(request)
        return Reported()

    async def _refuse(self, context: "grpc.aio.ServicerContext[RequestT, ResponseT]") -> None:
        if self.refusal is not None:
            await context.abort(*self.refusal)


class FakeRequestServer:
    """The service without a connection: answers at once, or as the test says."""

    def __init__(self) -> None:
        self.submitted: list[Submit] = []
        self.cancelled: list[Cancel] = []
        self.reported: list[Report] = []
        self.told = asyncio.Event()
        """Set once uses were reported."""
        self.fault: Exception | None = None
        self.on_call: Callable[[], object] | None = None
        """Is called before anything is answered."""
        self.submitted_at = NOW

    async def submit(self, message: Submit) -> Submitted:
        self._fail()
        self.submitted.append(message)
        found = elevation_request(f"request-{len(self.submitted)}", user=message.user, submitted=self.submitted_at)
        return Submitted(request=found)

    async def cancel(self, message: Cancel) -> Cancelled:
        self._fail()
        self.cancelled.append(message)
        return Cancelled(request=elevation_request(message.id, CANCELLED, user=message.user))

    async def report(self, message: Report) -> Reported:
        self._fail()
        self.reported.append(message)
        self.told.set()
        return Reported()

    def _fail(self) -> None:
        if self.on_call is not None:
            self.on_call()
        if self.fault is not None:
            raise self.fault
