"""Serve the other services on the mesh door."""

from collections.abc import AsyncIterator
from typing import Any

from epm.access.v1 import access_pb2, access_pb2_grpc
from services._chassis.access_client import snapshot_to_proto
from services.rbac import codec
from services.rbac.workers import AccessPublisher, TokenUseKeeper


class AccessServicer(access_pb2_grpc.AccessServiceServicer):
    """Serve the other services."""

    def __init__(self, publisher: AccessPublisher, keeper: TokenUseKeeper) -> None:
        self._publisher = publisher
        self._keeper = keeper

    async def WatchAccess(
        self, request: access_pb2.WatchAccessRequest, context: Any
    ) -> AsyncIterator[access_pb2.WatchAccessResponse]:
        """Stream the snapshot, every change of it, and heartbeats."""
        async for update in self._publisher.follow(request.revision):
            if isinstance(update, int):
                yield access_pb2.WatchAccessResponse(heartbeat=access_pb2.Heartbeat(revision=update))
            else:
                yield access_pb2.WatchAccessResponse(snapshot=snapshot_to_proto(update))

    async def ReportTokenUse(
        self, request: access_pb2.ReportTokenUseRequest, context: Any
    ) -> access_pb2.ReportTokenUseResponse:
        """Take in when tokens were shown to another service."""
        await self._keeper.keep(codec.uses_from_proto(request))
        return access_pb2.ReportTokenUseResponse()
