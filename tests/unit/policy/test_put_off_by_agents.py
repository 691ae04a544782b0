"""The real agent on a disk that keeps nothing, or with a clock that is wrong, at the real streams: it recovers by itself."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from agent_stub.links import Link, keep
from agent_stub.model import Identity
from agent_stub.policy.keeper import PolicyKeeper
from agent_stub.policy.stream import PolicyStream
from agent_stub.system import SystemDelays
from epm.policy.v1 import agent_pb2, agent_pb2_grpc
from services._chassis.pki import policy_key_id
from services.policy.model.delivery import Delivery
from services.policy.model.states import DeliveryState
from services.policy.usecases.delivery import CAPABILITY, SHORTEST_WAIT
from tests.builders.doors import device_identity, open_doors
from tests.builders.policy_streams import KEY, SOON, TENANT, World

EIGHT_DAYS = timedelta(days=8)


class Hasty(SystemDelays):
    """Come back at once."""

    def jitter(self, most: float) -> float:
        """Draw the shortest wait."""
        return 0.0


class Agent:
    """One run of the agent, on a folder of the test's."""

    def __init__(self, world: World, folder: Path) -> None:
        self._world = world
        self._blocker = folder / ".policy.new"
        self.ahead = timedelta()
        keys = {policy_key_id(KEY.public_key()): KEY.public_key().public_bytes_raw()}
        self.keeper = PolicyKeeper(folder, Identity("d1", "D1", TENANT, "", "", "", keys))

    def fill_disk(self) -> None:
        """Let no policy be stored."""
        self._blocker.mkdir()

    def free_disk(self) -> None:
        """Let policies be stored again."""
        self._blocker.rmdir()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Hold policy streams, one after the other."""
        async with self._world.doors.mesh(device_identity("d1")) as channel:
            stream = PolicyStream(
                agent_pb2_grpc.PolicyStreamServiceStub(channel),
                self.keeper,
                lambda: agent_pb2.Hello(capabilities=[CAPABILITY], run_id="run-1"),
                delays=Hasty(),
                now=lambda: self._world.clock.now() + self.ahead,
                changed=lambda: None,
                refused=lambda _: None,
            )
            task = asyncio.create_task(keep(Link("policy"), stream.session, Hasty()))
            try:
                yield
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(heartbeat=SOON)
    (tmp_path / "agent").mkdir()
    async with open_doors(tmp_path, made.parts()) as made.doors:
        yield made


@pytest.fixture
def agent(world: World, tmp_path: Path) -> Agent:
    return Agent(world, tmp_path / "agent")


async def refusal(world: World, revision: int) -> None:
    """Wait until the device has refused this revision."""
    await world.until(lambda found: (found.state, found.revision) == (DeliveryState.REJECTED, revision))


def is_applied(delivery: Delivery) -> bool:
    return delivery.state is DeliveryState.APPLIED


async def test_an_agent_whose_disk_is_full_takes_its_policy_once_there_is_room(world: World, agent: Agent) -> None:
    agent.fill_disk()
    async with agent.running():
        for revision in (1, 2):
            await refusal(world, revision)
            world.clock.advance(SHORTEST_WAIT)
        await refusal(world, 3)
        assert (await world.known()).rejections == ("the device cannot store the policy (is a directory)",)
        agent.free_disk()
        await world.until(is_applied)
    assert agent.keeper.held is not None
    assert agent.keeper.held.revision == 3
    assert (await world.known()).runs == ("run-1",)


async def test_an_agent_whose_clock_is_eight_days_ahead_takes_its_policy_once_that_is_right(
    world: World, agent: Agent
) -> None:
    agent.ahead = EIGHT_DAYS
    async with agent.running():
        await refusal(world, 1)
        world.clock.advance(SHORTEST_WAIT)
        await refusal(world, 2)
        assert "expired" in (await world.known()).rejections[0]
        agent.ahead = timedelta()
        await world.until(is_applied)
    assert agent.keeper.held is not None
    assert agent.keeper.held.revision == 2


async def test_a_month_of_a_wrong_clock_ends_like_a_minute_of_it(world: World, agent: Agent) -> None:
    """What the agent keeps in memory has expired by then: the server has to offer it again."""
    agent.ahead = EIGHT_DAYS
    async with agent.running():
        await refusal(world, 1)
        world.clock.advance(timedelta(days=30))
        agent.ahead = timedelta()
        await world.until(is_applied)
    assert agent.keeper.held is not None
    assert agent.keeper.held.revision == 2
