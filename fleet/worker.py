"""One process of the fleet: its share of the agents, the faults that befall them, and what it tells of them."""

import asyncio
import contextlib
import logging
import random
import resource
import signal
import sys
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path

import structlog
import uvloop

from agent_stub.system import new_id
from fleet.agent import FleetDelays, Surroundings, VirtualAgent
from fleet.faults import Armed
from fleet.keepers import FaithfulMemory, LightKeeper, Memory
from fleet.members import Member, Members, opened
from fleet.model import FaultKind, Planned, Progress, Standing, Tally
from fleet.relay import Relay
from fleet.schedule import Schedule

TICK = 0.05
TELL_EVERY = 1.0
GO, CALM, STOP = "go", "calm", "stop"


@dataclass(frozen=True, slots=True)
class Share:
    """What one process has to do."""

    state_dir: Path
    numbers: tuple[int, ...]
    faithful: int
    """Agents up to this number are faithful."""
    planned: tuple[Planned, ...]
    calm_after: float
    """When faults that have not happened are forgotten, in seconds from the start."""
    ramp: float
    """Seconds over which the first connections are spread."""
    longest_wait: float
    """Seconds that an agent waits at most before it connects again."""
    seed: int
    check_in: bool


def work(share: Share, teller: Connection) -> None:
    """Run a share until told to stop."""
    # Who ends the fleet from a terminal sends the signal to all of it; the process that tells the end decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer(colors=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with opened(share.state_dir) as members:
        uvloop.run(_Worker(share, members, teller).run())


class _Worker:
    def __init__(self, share: Share, members: Members, teller: Connection) -> None:
        self._share = share
        self._members = members
        self._teller = teller
        self._tally = Tally()
        self._die = random.Random(f"{share.seed}/{share.numbers[:1]}")  # noqa: S311 - a die, not a secret
        self._agents: dict[int, VirtualAgent] = {}
        self._relays: list[Relay] = []
        self._kept: dict[int, Standing] = {}
        self._is_calm = False

    async def run(self) -> None:
        """Set up, wait for the start, and go on until the end."""
        loop = asyncio.get_running_loop()
        heard: asyncio.Queue[str] = asyncio.Queue()
        await self._set_up()
        loop.add_reader(self._teller.fileno(), lambda: heard.put_nowait(self._hear()))
        self._tell(self._progress())
        try:
            if await heard.get() == GO:
                await self._go(heard)
        finally:
            loop.remove_reader(self._teller.fileno())
            for relay in self._relays:
                await relay.close()

    async def _set_up(self) -> None:
        cut = {planned.agent for planned in self._share.planned if planned.fault.kind is FaultKind.CUT}
        delays = FleetDelays(self._share.longest_wait, self._die)
        for member in self._members.read(self._share.numbers):
            armed = Armed(self._tally.faults)
            address = member.identity.policy_address
            if member.number in cut:
                self._relays.append(relay := Relay(address, armed, self._die))
                address = await relay.open()
            surroundings = Surroundings(
                address, delays, lambda: datetime.now(UTC), new_id, check_in=self._share.check_in
            )
            self._agents[member.number] = VirtualAgent(
                member, self._memory(member, armed), surroundings, armed=armed, tally=self._tally
            )

    def _memory(self, member: Member, armed: Armed) -> Memory:
        if member.number > self._share.faithful:
            return LightKeeper(member.identity)
        folder = self._share.state_dir / "agents" / member.identity.device_name
        return FaithfulMemory(folder, member.identity, member.credentials, armed)

    def _hear(self) -> str:
        try:
            return str(self._teller.recv())
        except (EOFError, OSError):
            return STOP

    async def _go(self, heard: "asyncio.Queue[str]") -> None:
        count = max(len(self._agents), 1)
        tasks = {
            asyncio.create_task(self._live(agent, self._share.ramp * number / count))
            for number, agent in enumerate(self._agents.values())
        }
        tasks |= {asyncio.create_task(self._keep_time()), asyncio.create_task(self._listen(heard))}
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        self._keep_standings()
        last = self._progress(last=True)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            task.result()  # what breaks an agent for good is a fault of the simulator, and ends the run
        self._tell(last)

    async def _live(self, agent: VirtualAgent, after: float) -> None:
        await asyncio.sleep(after)
        await agent.live()

    async def _listen(self, heard: "asyncio.Queue[str]") -> None:
        while await heard.get() != STOP:
            self._calm()

    async def _keep_time(self) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        told = began
        schedule = Schedule(self._share.planned)
        while True:
            now = loop.time()
            for planned in schedule.due(now - began):
                if not self._is_calm:
                    self._agents[planned.agent].befall(planned.fault)
            if now - began >= self._share.calm_after and not self._is_calm:
                self._calm()
            if now - told >= TELL_EVERY:
                told = now
                self._keep_standings()
                self._tell(self._progress())
            await asyncio.sleep(TICK)

    def _calm(self) -> None:
        self._is_calm = True
        for agent in self._agents.values():
            agent.calm()

    def _keep_standings(self) -> None:
        changed = {
            number: stands
            for number, agent in self._agents.items()
            if self._kept.get(number) != (stands := agent.standing)
        }
        if changed:
            self._members.note(changed)
            self._kept.update(changed)

    def _progress(self, *, last: bool = False) -> Progress:
        agents = self._agents.values()
        violations = [violation for agent in agents for violation in agent.witness.take()]
        return Progress(
            agents=len(agents),
            connected=sum(agent.connected for agent in agents),
            revisions=Counter(agent.holding.revision for agent in agents),
            tally=self._tally,
            calm=self._is_calm,
            violations=tuple(violations),
            reports=tuple(agent.report() for agent in agents) if last else (),
        )

    def _tell(self, progress: Progress) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._teller.send(progress)
