"""Convergence for administrators: decode, call one use case, encode."""

from collections.abc import AsyncIterator, Callable
from datetime import datetime
from functools import partial
from typing import Any, TypeAlias

import grpc.aio

from epm.policy.v1 import rollouts_pb2, rollouts_pb2_grpc
from services._chassis.access import AccessControl
from services._chassis.caller import current_caller, current_permit
from services.policy.codec import rollouts
from services.policy.usecases.rollout import Convergence
from services.policy.usecases.rollout_watch import PictureFeed, watch_rollout

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class RolloutServicer(rollouts_pb2_grpc.RolloutServiceServicer):
    """Answer `epm.policy.v1.RolloutService`."""

    def __init__(
        self, convergence: Convergence, feed: PictureFeed, access: AccessControl, *, now: Callable[[], datetime]
    ) -> None:
        self._convergence = convergence
        self._feed = feed
        self._access = access
        self._now = now

    async def GetRollout(
        self, request: rollouts_pb2.GetRolloutRequest, _context: Context
    ) -> rollouts_pb2.GetRolloutResponse:
        """Return how far a policy has come."""
        wanted = rollouts.subject_from_proto(request.subject)
        found = await self._convergence.get(wanted, permit=current_permit(), now=self._now())
        return rollouts_pb2.GetRolloutResponse(rollout=rollouts.rollout_to_proto(found))

    async def WatchRollout(
        self, request: rollouts_pb2.WatchRolloutRequest, _context: Context
    ) -> AsyncIterator[rollouts_pb2.WatchRolloutResponse]:
        """Stream how far a policy has come, as long as the caller has the right."""
        caller = current_caller()
        found = watch_rollout(
            self._convergence,
            self._feed,
            rollouts.subject_from_proto(request.subject),
            check=partial(self._access.check, caller.principal, current_permit().right, caller.groups),
            until_converged=request.until_converged,
        )
        async for rollout in found:
            yield rollouts_pb2.WatchRolloutResponse(rollout=rollouts.rollout_to_proto(rollout))

    async def ListRolloutDevices(
        self, request: rollouts_pb2.ListRolloutDevicesRequest, _context: Context
    ) -> rollouts_pb2.ListRolloutDevicesResponse:
        """List the devices that a policy is for or still on."""
        wanted, narrowed = rollouts.devices_wanted_from_proto(request)
        page = await self._convergence.devices(
            wanted,
            narrowed,
            permit=current_permit(),
            page_size=request.page_size,
            page_token=request.page_token,
            now=self._now(),
        )
        return rollouts_pb2.ListRolloutDevicesResponse(
            devices=map(rollouts.rollout_device_to_proto, page.items), next_page_token=page.next_token
        )
