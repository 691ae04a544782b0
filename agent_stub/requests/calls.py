"""Speak to the server about requests in single calls, over a connection that a renewal may close meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from agent_stub.links import SessionError
from epm.policy.v1 import requests_pb2, requests_pb2_grpc

DEADLINE_SECONDS = 10.0
T = TypeVar("T")


class RequestServer(Protocol):
    """Takes requests and uses of grants. All methods raise AioRpcError or SessionError."""

    async def submit(
        self, message: requests_pb2.SubmitElevationRequestRequest
    ) -> requests_pb2.SubmitElevationRequestResponse:
        """Ask the support."""
        ...

    async def cancel(
        self, message: requests_pb2.CancelElevationRequestRequest
    ) -> requests_pb2.CancelElevationRequestResponse:
        """Take a request back."""
        ...

    async def report(self, message: requests_pb2.ReportGrantUsesRequest) -> requests_pb2.ReportGrantUsesResponse:
        """Tell uses of grants."""
        ...


class CalledServer:
    """The device's side of `DeviceRequestService`. `stub` speaks by the certificate of now."""

    def __init__(self, stub: "Callable[[], requests_pb2_grpc.DeviceRequestServiceAsyncStub]") -> None:
        self._stub = stub

    async def submit(
        self, message: requests_pb2.SubmitElevationRequestRequest
    ) -> requests_pb2.SubmitElevationRequestResponse:
        """Ask the support."""
        return await _answer(self._stub().SubmitElevationRequest(message, timeout=DEADLINE_SECONDS))

    async def cancel(
        self, message: requests_pb2.CancelElevationRequestRequest
    ) -> requests_pb2.CancelElevationRequestResponse:
        """Take a request back."""
        return await _answer(self._stub().CancelElevationRequest(message, timeout=DEADLINE_SECONDS))

    async def report(self, message: requests_pb2.ReportGrantUsesRequest) -> requests_pb2.ReportGrantUsesResponse:
        """Tell uses of grants."""
        return await _answer(self._stub().ReportGrantUses(message, timeout=DEADLINE_SECONDS))


async def _answer(call: Awaitable[T]) -> T:
    """Give the answer. Where the connection is closed under a call, the library cancels whoever waits for it."""
    try:
        return await call
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise SessionError("the connection was closed, for the device speaks by another certificate now") from error
