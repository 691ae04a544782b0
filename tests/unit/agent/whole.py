"""One device whole: its folder, its agent as a process, and its servers on loopback."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from elevation.document import PolicyDocument
from elevation.model import DefaultResponse, Settings
from epm.policy.v1 import agent_pb2 as policy_pb2
from epm.reporting.v1 import agent_pb2 as reporting_pb2
from tests.fakes.agent_servers import FakeServers
from tests.unit.agent.programs import PATIENCE, Done, Running, agent, running

CONFIRMED = Settings(default_response=DefaultResponse.USER_CONFIRMED)
UNSAFE = {"EPM_AGENT_UNSAFE": "1"}


@dataclass
class Device:
    folder: Path
    servers: FakeServers

    @property
    def state(self) -> Path:
        return self.folder / "state"

    async def enrols(self) -> None:
        (self.folder / "ca.pem").write_bytes(self.servers.installation.authority.pem)
        where: list[str | Path] = [
            "--server",
            self.servers.public_address,
            "--ca",
            self.folder / "ca.pem",
            "--state-dir",
            self.state,
        ]
        done = await agent("enroll", *where, "--name", "ws-17", "--token-file", "-", typed="good-token\n")
        assert done.code == 0, done.errors

    @asynccontextmanager
    async def runs(self) -> AsyncIterator[Running]:
        async with running(self.state, "--unsafe-stated-identity", **UNSAFE) as process:
            yield process

    def offers(self, content: PolicyDocument, revision: int, **changes: object) -> None:
        now = datetime.now(UTC)
        fresh = {"issued": now, "expires": now + timedelta(days=1)} | changes
        self.servers.policy.offer(self.servers.installation.offer(content, revision, **fresh))

    async def answers(self) -> policy_pb2.StreamPolicyRequest:
        """Give what the device says to an offer; it says hello before."""
        while True:
            said = await asyncio.wait_for(self.servers.policy.said.get(), PATIENCE)
            if not said.HasField("hello"):
                return said

    async def batch(self) -> reporting_pb2.EventBatch:
        return await asyncio.wait_for(self.servers.events.batches.get(), PATIENCE)

    async def component(self) -> int:
        """Give what the next check-in says of the component."""
        check_in = await asyncio.wait_for(self.servers.device.check_ins.get(), PATIENCE)
        return check_in.component

    async def elevates(self, *options: str) -> Done:
        return await agent(
            "elevate", "--state-dir", self.state, "--as", "alice", "--answer-confirm", *options, "/usr/bin/env"
        )

    async def status(self) -> dict[str, Any]:
        done = await agent("status", "--state-dir", self.state, "--output", "json")
        assert done.code == 0, done.errors
        found: dict[str, Any] = json.loads(done.output)
        return found
