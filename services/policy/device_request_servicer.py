"""Elevation requests of devices: who speaks is who the certificate says."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, TypeAlias

import grpc.aio

from epm.policy.v1 import requests_pb2, requests_pb2_grpc
from services._chassis.caller import current_caller
from services.policy.codec import requests
from services.policy.model.directory import DirectoryDevice
from services.policy.usecases.requests.asking import Asking
from services.policy.usecases.requests.pace import Pace
from services.policy.usecases.requests.ports import GrantUses
from services.policy.usecases.requests.using import report_uses

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Admit: TypeAlias = Callable[[str, str], Awaitable[DirectoryDevice]]
"""Lets in a device with the certificate of this serial number."""


class DeviceRequestServicer(requests_pb2_grpc.DeviceRequestServiceServicer):
    """Answer `epm.policy.v1.DeviceRequestService`."""

    def __init__(
        self, admit: Admit, asking: Asking, uses: GrantUses, *, pace: Pace, now: Callable[[], datetime]
    ) -> None:
        self._admit = admit
        self._asking = asking
        self._uses = uses
        self._pace = pace
        self._now = now

    async def SubmitElevationRequest(
        self, request: requests_pb2.SubmitElevationRequestRequest, _context: Context
    ) -> requests_pb2.SubmitElevationRequestResponse:
        """Take in what a user asks for."""
        device = await self._admitted()
        self._pace.ask(device, request.user)
        told = await self._asking.submit(device, requests.submission_from_proto(request), self._now())
        return requests_pb2.SubmitElevationRequestResponse(request=requests.told_to_proto(told))

    async def CancelElevationRequest(
        self, request: requests_pb2.CancelElevationRequestRequest, _context: Context
    ) -> requests_pb2.CancelElevationRequestResponse:
        """Take a request back."""
        device = await self._admitted()
        self._pace.ask(device, request.user)
        told = await self._asking.cancel(device, request.id, request.user, self._now)
        return requests_pb2.CancelElevationRequestResponse(request=requests.told_to_proto(told))

    async def ReportGrantUses(
        self, request: requests_pb2.ReportGrantUsesRequest, _context: Context
    ) -> requests_pb2.ReportGrantUsesResponse:
        """Count uses of grants."""
        device = await self._admitted()
        self._pace.report(device)
        uses, flaws = requests.uses_from_proto(request)
        await report_uses(self._uses, device.device_id, uses, self._now, flaws=flaws)
        return requests_pb2.ReportGrantUsesResponse()

    async def _admitted(self) -> DirectoryDevice:
        caller = current_caller()
        return await self._admit(caller.device_id, caller.certificate_serial)
