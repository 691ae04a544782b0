import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from pathlib import Path

from epm.device.v1 import agent_pb2 as device_pb2
from epm.policy.v1 import agent_pb2
from fleet.agent import FleetDelays, Surroundings, VirtualAgent
from fleet.faults import Armed
from fleet.keepers import FaithfulMemory, LightKeeper, Memory
from fleet.members import Member
from fleet.model import Fault, FaultKind, Holding, Standing, Tally
from tests.fakes.agent import DEVICE_ID, NOW, document
from tests.fakes.agent_servers import FakeServers

CONTENT = document()
PATIENCE = 20


@dataclass
class Scene:
    servers: FakeServers
    agent: VirtualAgent
    tally: Tally

    async def said(self) -> agent_pb2.StreamPolicyRequest:
        return await asyncio.wait_for(self.servers.policy.said.get(), PATIENCE)

    async def hello(self) -> agent_pb2.Hello:
        while not (said := await self.said()).HasField("hello"):
            pass
        return said.hello

    def offer(self, revision: int) -> None:
        self.servers.policy.offer(self.servers.installation.offer(CONTENT, revision))

    def befall(self, kind: FaultKind, seconds: float = 0, shift: timedelta = timedelta()) -> None:
        self.agent.befall(Fault(kind, timedelta(seconds=seconds), shift))


def light(member: Member, armed: Armed) -> Memory:
    del armed
    return LightKeeper(member.identity)


@asynccontextmanager
async def living(kind: Callable[[Member, Armed], Memory] = light, *, check_in: bool = False) -> AsyncIterator[Scene]:
    """Run one agent against fake servers."""
    async with FakeServers().running() as servers:
        installation = servers.installation
        member = Member(1, installation.identity(servers.mesh_address), installation.credentials())
        tally, numbers = Tally(), count(1)
        armed = Armed(tally.faults)
        delays = FleetDelays(0.01, random.Random(1))  # noqa: S311 - a die, not a secret
        around = Surroundings(
            servers.mesh_address, delays, lambda: NOW, lambda: f"run-{next(numbers)}", check_in=check_in
        )
        agent = VirtualAgent(member, kind(member, armed), around, armed=armed, tally=tally)
        life = asyncio.create_task(agent.live())
        try:
            yield Scene(servers, agent, tally)
        finally:
            life.cancel()
            with suppress(asyncio.CancelledError):
                await life
    assert agent.witness.take() == []


async def test_an_agent_connects_applies_and_tells_what_it_holds() -> None:
    async with living() as scene:
        assert (await scene.hello()).revision == 0
        scene.offer(3)
        assert (await scene.said()).ack.revision == 3
        report = scene.agent.report()
        assert (report.grade, report.connected, report.holding.revision) == ("light", True, 3)


async def test_an_agent_that_is_killed_comes_back_as_another_run_with_what_is_on_its_disk(tmp_path: Path) -> None:
    def faithful(member: Member, armed: Armed) -> Memory:
        return FaithfulMemory(tmp_path / "agent", member.identity, member.credentials, armed)

    async with living(faithful) as scene:
        assert (await scene.hello()).run_id == "run-1"
        scene.befall(FaultKind.KILL_AFTER_RENAME)
        scene.offer(3)
        again = await scene.hello()
        assert (again.run_id, again.revision) == ("run-2", 3)
        assert scene.agent.report().grade == "faithful"


async def test_an_agent_that_is_sent_away_for_good_stays_away_until_the_script_brings_it_back() -> None:
    async with living() as scene:
        await scene.hello()
        away = agent_pb2.GoAway(reason=agent_pb2.GO_AWAY_REASON_RETIRED)
        scene.servers.policy.outbox.put_nowait(agent_pb2.StreamPolicyResponse(go_away=away))
        scene.befall(FaultKind.RECONNECT)
        await scene.hello()
        assert scene.tally.streams == 2


async def test_a_clone_speaks_for_the_same_device_in_a_run_of_its_own_and_the_original_comes_back() -> None:
    async with living() as scene:
        await scene.hello()
        scene.offer(3)
        await scene.said()
        scene.befall(FaultKind.CLONE, 0.5)
        clone = await scene.hello()
        original = await scene.hello()
        assert (clone.device_id, clone.revision) == (original.device_id, 3)
        assert (clone.run_id, original.run_id) == ("run-2", "run-1")


async def test_a_restart_and_an_older_state_are_new_runs_and_a_reconnection_is_none() -> None:
    async with living() as scene:
        await scene.hello()
        for revision in (3, 4):
            scene.offer(revision)
            await scene.said()
        told = []
        for kind in (FaultKind.RECONNECT, FaultKind.RESTART, FaultKind.RESTORE):
            scene.befall(kind)
            hello = await scene.hello()
            told.append((hello.run_id, hello.revision))
        assert told == [("run-1", 4), ("run-2", 4), ("run-3", 3)]


class StoppedMemory(LightKeeper):
    """Notes whether a stream was held while the disk was taken back."""

    held_streams: list[bool]

    def rewind(self) -> bool:
        coroutines = [task.get_coro() for task in asyncio.all_tasks()]
        self.held_streams.append(any(getattr(found, "__name__", "") == "keep" for found in coroutines))
        return super().rewind()


async def test_an_agent_is_not_running_while_its_disk_is_taken_back() -> None:
    memories: list[StoppedMemory] = []

    def stopped(member: Member, armed: Armed) -> Memory:
        del armed
        memories.append(StoppedMemory(member.identity))
        memories[0].held_streams = []
        return memories[0]

    async with living(stopped) as scene:
        await scene.hello()
        scene.offer(3)
        await scene.said()
        assert any(getattr(task.get_coro(), "__name__", "") == "keep" for task in asyncio.all_tasks())
        scene.befall(FaultKind.RESTORE)
        await scene.hello()
    assert memories[0].held_streams == [False]


async def test_a_second_stream_is_of_the_same_run() -> None:
    async with living() as scene:
        await scene.hello()
        scene.befall(FaultKind.OPEN_TWICE)
        assert [(await scene.hello()).run_id for _ in range(2)] == ["run-1", "run-1"]


async def test_a_clock_that_jumps_ahead_refuses_what_has_expired_until_it_is_set_right() -> None:
    async with living() as scene:
        await scene.hello()
        scene.befall(FaultKind.CLOCK, 1000, timedelta(days=365))
        scene.offer(3)
        assert "expired" in (await scene.said()).nack.reasons[0]
        scene.agent.calm()
        scene.offer(4)
        assert (await scene.said()).ack.revision == 4


async def test_garbage_is_said_in_place_of_a_hello_and_the_agent_comes_back() -> None:
    async with living() as scene:
        await scene.hello()
        scene.befall(FaultKind.GARBAGE)
        scene.befall(FaultKind.RECONNECT)
        await scene.hello()
        assert (scene.tally.streams, scene.tally.faults["garbage"]) == (3, 1)


async def test_an_agent_that_checks_in_tells_at_once_that_its_component_came(tmp_path: Path) -> None:
    def faithful(member: Member, armed: Armed) -> Memory:
        return FaithfulMemory(tmp_path / "agent", member.identity, member.credentials, armed)

    async with living(faithful, check_in=True) as scene:
        check_ins = scene.servers.device.check_ins
        first = await asyncio.wait_for(check_ins.get(), PATIENCE)
        assert (first.device_id, first.component) == (DEVICE_ID, device_pb2.COMPONENT_STATE_ABSENT)
        assert scene.agent.standing == Standing(Holding(), "NOT_PROVISIONED")
        scene.offer(3)
        while (await asyncio.wait_for(check_ins.get(), PATIENCE)).component != device_pb2.COMPONENT_STATE_PRESENT:
            pass
        assert (scene.agent.standing.holding.revision, scene.agent.standing.epm_state) == (3, "ACTIVE")


async def test_an_agent_that_does_not_check_in_says_nothing_of_its_state() -> None:
    async with living() as scene:
        await scene.hello()
        scene.offer(3)
        await scene.said()
        assert scene.agent.standing.epm_state == ""
        assert scene.servers.device.check_ins.empty()
