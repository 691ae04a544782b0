"""Devices that report without a pause: real journals on disk and real uploaders, several in one process, made to be killed.

Each notes beside its journals what it is about to write and what was written, so that a journal is not its own witness.
"""

import asyncio
import os
import random
import signal
import sys
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from agent_stub.events.frames import entry_in, frame_at
from agent_stub.events.journal import LocalDisk
from agent_stub.events.records import Decided, Diagnostic, EventFactory
from agent_stub.events.spool import Spool
from agent_stub.events.upload import Uploader
from agent_stub.links import Channels, Link, keep
from agent_stub.model import Moment, Result
from agent_stub.system import VERSION, SystemClock, new_id
from elevation.decision import decide
from elevation.model import ReportingScope, User
from epm.reporting.v1 import agent_pb2, agent_pb2_grpc
from fleet.agent import FleetDelays
from fleet.members import Member, opened
from tests.builders.elevation import attempt, compiled, evidence, policy, rule

ROOT = Path(__file__).parents[2]
LIMIT = 64 * 1024 * 1024
LONGEST_WAIT = 1.0
"""Seconds that an agent waits at most before it connects again."""

BETWEEN = 0.4
"""Seconds between two bursts of events of one agent, on average."""

BEGUN, WRITTEN = "begun", "written"
_POLICY = compiled(policy(rule(file_name="setup.exe"), name="tools"))
_FILES = [evidence(f"C:\\Files\\{name}.exe", sha256=digit * 64) for name, digit in (("setup", "a"), ("game", "b"))]
_USERS = [User("alice"), User("bob"), User("root", administrator=True)]


@dataclass(frozen=True, slots=True)
class Noted:
    """What an agent says of one event, outside its journals."""

    word: str
    device_id: str
    journal: str
    seq: int
    event_id: str
    kind: str


class WitnessedDisk(LocalDisk):
    """The file system, with a note before and after every event; on demand it dies in the middle of one."""

    def __init__(self, path: Path, device_id: str) -> None:
        self._notes = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._device_id = device_id
        self.tears = False

    def append(self, path: Path, content: bytes) -> None:
        """Write an event down and note it."""
        frame = frame_at(content, 0)
        entry = entry_in(frame.payload) if frame else None
        assert entry is not None
        said = f"{self._device_id} {path.stem} {entry.seq} {entry.event.event_id} {entry.event.WhichOneof('body')}\n"
        os.write(self._notes, f"{BEGUN} {said}".encode())
        if self.tears:
            super().append(path, content[: len(content) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        super().append(path, content)
        os.write(self._notes, f"{WRITTEN} {said}".encode())


class Reporter:
    """One device that reports."""

    def __init__(self, member: Member, folder: Path, die: random.Random) -> None:
        self._member = member
        self._die = die
        self._shift = timedelta(days=member.number % 4)
        own = folder / member.identity.device_name
        own.mkdir(parents=True, exist_ok=True)
        self.disk = WitnessedDisk(folder / f"{member.identity.device_name}.notes", member.identity.device_id)
        factory = EventFactory(new_id(), self._now, new_id)
        self._spool = Spool(own, self.disk, new_id, limit=LIMIT, factory=factory)
        self._spool.policy_changed(health_leaves=True)
        self._attempts: list[str] = []

    @property
    def waiting(self) -> int:
        """Return how many events the server has not committed."""
        return sum(map(len, self._spool.journals))

    async def upload(self) -> None:
        """Hold the conversation with the server, for ever."""
        async with AsyncExitStack() as held:
            channels = Channels(self._member.identity, self._member.credentials)
            held.push_async_callback(channels.close)
            stub = agent_pb2_grpc.EventStreamServiceStub(channels.to(self._member.identity.reporting_address))
            hello = agent_pb2.EventsHello(device_id=self._member.identity.device_id, agent_version=VERSION)
            uploader = Uploader(stub, self._spool, hello)
            await keep(Link("events"), uploader.session, FleetDelays(LONGEST_WAIT, self._die))

    async def report(self, stop: asyncio.Event) -> None:
        """Write events of all kinds until told to stop."""
        while not stop.is_set():
            for _ in range(self._die.choice((1, 1, 2, 3, 20))):
                self._write()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._die.expovariate(1 / BETWEEN)):
                    await stop.wait()

    def _write(self) -> None:
        drawn = self._die.random()
        if drawn < 0.1:
            self._spool.diagnose(Diagnostic("CLOCK_STEPPED", "the clock was set", count=self._die.randint(0, 9)))
        elif drawn < 0.4 and self._attempts:
            self._spool.completed(self._attempts.pop(), self._die.randint(-1, 255))
        else:
            asked = attempt(self._die.choice(_FILES), user=self._die.choice(_USERS))
            decision = decide(_POLICY, asked)
            result = Result.ELEVATED if decision.managed else Result.NOT_MANAGED
            self._attempts.append(new_id())
            self._spool.decided(Decided(self._attempts[-1], asked, decision, result), ReportingScope.ALL)

    def _now(self) -> Moment:
        moment = SystemClock().now()
        return Moment(moment.wall - self._shift, moment.since_boot)


def main(state_dir: str, folder: str, numbers: Sequence[int], seed: str) -> None:
    """Report until SIGTERM, and end once everything is committed; on SIGUSR1 die in the middle of an event."""
    with opened(Path(state_dir)) as members:
        found = list(members.read(numbers))
    die = random.Random(f"{seed}/{os.getpid()}")  # noqa: S311 - a die, no secret
    asyncio.run(_run([Reporter(member, Path(folder), die) for member in found]))


async def _run(reporters: Sequence[Reporter]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGUSR1, _tear, reporters)
    sys.stdout.write("reporting\n")
    sys.stdout.flush()
    uploads = [asyncio.ensure_future(one.upload()) for one in reporters]
    await asyncio.gather(*(one.report(stop) for one in reporters))
    delays = FleetDelays(LONGEST_WAIT, random.Random(0))  # noqa: S311 - draws nothing
    while any(one.waiting for one in reporters):
        await delays.pause(0.05)
    for upload in uploads:
        upload.cancel()
    await asyncio.gather(*uploads, return_exceptions=True)


def _tear(reporters: Iterable[Reporter]) -> None:
    for one in reporters:
        one.disk.tears = True


def command(state_dir: Path, folder: Path, numbers: Iterable[int], seed: str) -> list[str]:
    """Return the command that runs some of the agents."""
    prelude = f"import sys; sys.path[:0] = [{str(ROOT)!r}]; from tests.builders.reporters import main; "
    return [sys.executable, "-c", f"{prelude}main({str(state_dir)!r}, {str(folder)!r}, {list(numbers)!r}, {seed!r})"]


def notes(folder: Path) -> list[Noted]:
    """Return what all agents noted, each in its order."""
    found = []
    for path in sorted(folder.glob("*.notes")):
        for line in path.read_text(encoding="utf-8").splitlines():
            word, device_id, journal, seq, event_id, kind = line.split()
            found.append(Noted(word, device_id, journal, int(seq), event_id, kind))
    return found
