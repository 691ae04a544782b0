"""Somebody who watches requests come in and approves them, over the public door."""

import asyncio
import random
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from time import monotonic
from typing import Protocol, Self

import grpc
import grpc.aio

from epm.elevation.v1 import settings_pb2
from epm.policy.v1 import policies_pb2, policies_pb2_grpc, requests_pb2, requests_pb2_grpc

PATIENCE = 30.0
"""Seconds after which a request that nobody sees or approves has failed."""

LONGEST_THOUGHT = 1.0
"""Seconds that an approver looks at a request at most, so that approvals come by chance, too."""


class Desk(Protocol):
    """Show requests, and take approvals."""

    def requests(self) -> AsyncIterator[str]:
        """Give the key of each request as it becomes visible."""
        ...

    async def approve(self, key: str) -> None:
        """Approve it."""
        ...


class Approver:
    """Note when requests are seen, and when they are approved."""

    def __init__(self, desk: Desk) -> None:
        self.seen: dict[str, float] = {}
        self.called: dict[str, float] = {}
        self.answered: dict[str, float] = {}
        self.thinks = True
        """Whether each is approved by itself, after a little thought."""
        self._desk = desk
        self._die = random.Random(1)
        self._changed = asyncio.Event()
        self._approving: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[Self]:
        """Watch while the context is open."""
        watch = asyncio.create_task(self._watch())
        try:
            yield self
        finally:
            watch.cancel()
            with suppress(asyncio.CancelledError):
                await watch

    async def until(self, noted: Mapping[str, float], keys: Collection[str]) -> None:
        """Wait until it is noted of all of them: that they were seen, or that the approval was answered."""
        async with asyncio.timeout(PATIENCE):
            while not noted.keys() >= set(keys):
                self._changed.clear()
                await self._changed.wait()

    async def approve_all(self, keys: Collection[str]) -> None:
        """Approve all at once."""
        await asyncio.gather(*(self._approve(key) for key in keys))

    async def _watch(self) -> None:
        async for key in self._desk.requests():
            self.seen[key] = monotonic()
            self._changed.set()
            if self.thinks:
                task = asyncio.create_task(self._think_and_approve(key))
                self._approving.add(task)
                task.add_done_callback(self._approving.discard)

    async def _think_and_approve(self, key: str) -> None:
        await asyncio.sleep(self._die.uniform(0, LONGEST_THOUGHT))
        await self._approve(key)

    async def _approve(self, key: str) -> None:
        self.called[key] = monotonic()
        await self._desk.approve(key)
        self.answered[key] = monotonic()
        self._changed.set()


class PublicDesk:
    """Speak to the policy service for an Owner."""

    def __init__(self, channel: grpc.aio.Channel, token: str) -> None:
        self._policies = policies_pb2_grpc.PolicyServiceStub(channel)
        self._requests = requests_pb2_grpc.ElevationRequestServiceStub(channel)
        self._metadata = (("authorization", f"Bearer {token}"),)
        self._ids: dict[str, str] = {}
        self.told_bytes = 0
        """Of the last message of the watch."""

    async def let_users_ask(self, name: str) -> None:
        """Have a settings policy ask the support where no rule decides."""
        asked = policies_pb2.GetSettingsPolicyRequest(name=name)
        policy = (await self._policies.GetSettingsPolicy(asked, metadata=self._metadata)).settings_policy
        policy.settings.default_response = settings_pb2.DEFAULT_RESPONSE_SUPPORT_APPROVED
        await self._policies.UpdateSettingsPolicy(
            policies_pb2.UpdateSettingsPolicyRequest(settings_policy=policy), metadata=self._metadata
        )

    async def requests(self) -> AsyncIterator[str]:
        """Watch."""
        asked = requests_pb2.WatchElevationRequestsRequest()
        async for told in self._requests.WatchElevationRequests(asked, metadata=self._metadata):
            for request in told.requests:
                if request.attempt_id not in self._ids:
                    self._ids[request.attempt_id], self.told_bytes = request.id, told.ByteSize()
                    yield request.attempt_id

    async def approve(self, key: str) -> None:
        """Approve as it is usual: for a day, as often as wanted."""
        request = requests_pb2.ApproveElevationRequestRequest(id=self._ids[key], reason="a tool that is known")
        await self._requests.ApproveElevationRequest(request, metadata=self._metadata)
