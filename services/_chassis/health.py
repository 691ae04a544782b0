"""Health of a process on every door: per proto service and overall; serving means knowing who may do what, and being able to do it."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import OVERALL_HEALTH
from grpc_health.v1.health import aio as health_aio

from services._chassis.access import AccessControl

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
MOST_WATCHERS = 1000
LONGEST_SERVICE = 256
LOOK_AGAIN = 1.0
"""Seconds after which staleness is looked for, and who cannot work; freshness is heard of at once."""


class BoundedHealthServicer(health_aio.HealthServicer):
    """Answer as grpc.health.v1 says, to so many watchers at once: anybody may watch, and each is held for ever."""

    def __init__(self) -> None:
        super().__init__()
        self._watching = 0

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Any) -> None:  # noqa: N802 - the contract's name
        """Tell every change."""
        if self._watching >= MOST_WATCHERS or len(request.service) > LONGEST_SERVICE:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too much to watch; call Check, or try again later")
        self._watching += 1
        try:
            await super().Watch(request, context)
        finally:
            self._watching -= 1


class HealthBoard:
    """Show each proto service as serving while its access snapshot is fresh and it can work, and none of them while draining."""

    def __init__(self) -> None:
        self._servicer = BoundedHealthServicer()
        self._services: dict[str, AccessControl] = {}
        self._able: dict[str, Callable[[], bool]] = {}
        self._changed = asyncio.Event()
        self._serving = asyncio.Event()

    def register(
        self, names: Iterable[str], access: AccessControl, able: Mapping[str, Callable[[], bool]] = MappingProxyType({})
    ) -> None:
        """Show the proto services, as long as `access` is fresh, and those named in `able` as long as it says so."""
        if access not in self._services.values():
            access.on_change.append(self._changed.set)
        self._services.update(dict.fromkeys(names, access))
        self._able.update(able)

    def serve_on(self, server: grpc.aio.Server) -> None:
        """Answer grpc.health.v1 on the server."""
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)

    async def watch(self) -> None:
        """Keep what is shown true, for ever."""
        while True:
            self._changed.clear()
            await self._show()
            try:
                async with asyncio.timeout(LOOK_AGAIN):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def wait_until_serving(self) -> None:
        """Return once everything is shown as serving."""
        await self._serving.wait()

    async def drain(self) -> None:
        """Show everything as not serving, for good."""
        await self._servicer.enter_graceful_shutdown()

    async def _show(self) -> None:
        fresh = {name: access.fresh() for name, access in self._services.items()}
        serving = fresh | {name: fresh[name] and able() for name, able in self._able.items()}
        for name, serves in {**serving, OVERALL_HEALTH: all(serving.values())}.items():
            await self._servicer.set(name, SERVING if serves else NOT_SERVING)
        if all(serving.values()):
            self._serving.set()
        else:
            self._serving.clear()
