"""`kill -9` of the server and of agents while fifty of them report: what was ever written is stored exactly once.

`EPM_SOAK_SECONDS` says how long it goes on; `make soak` takes two minutes on each database.
"""

import logging
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import sqlalchemy as sa

from services._chassis.db import Database
from services.reporting.store import tables
from tests.builders.counts import check
from tests.builders.installation import Installation, installation
from tests.builders.reporters import BEGUN, WRITTEN, command, notes

AGENTS, PROCESSES, FEWEST_KILLS = 50, 5, 3
SECONDS = float(os.environ.get("EPM_SOAK_SECONDS", "8"))
SEED = os.environ.get("EPM_SOAK_SEED", "reporting")
JOURNALS = ("security", "diagnostic")
EVENTS = (tables.ATTEMPT, tables.COMPLETION, tables.DIAGNOSTIC)
WORKSTATIONS = """
apiVersion: openepm/v1
kind: ElevationSettingsPolicy
metadata: {name: workstations}
spec: {defaultResponse: DENY, assignments: {include: [{group: all-devices}]}}
"""
pytestmark = [pytest.mark.xdist_group("reporting-kills"), pytest.mark.timeout(240 + 3 * SECONDS)]

log = logging.getLogger(__name__)


@dataclass
class Reporting:
    """An installation whose agents report, and what befell it."""

    house: Installation
    die: random.Random
    happened: Counter[str] = field(default_factory=Counter)

    @property
    def folder(self) -> Path:
        return self.house.folder / "reporters"

    def enrol(self) -> None:
        """Enrol the agents, to devices that may report everything."""
        self.house.apply(WORKSTATIONS)
        options = ["--quota", str(AGENTS), "--output", "json"]
        token = self.house.must("epm", "enrolment-token", "create", *options).json()["secret"]
        options = ["--server", self.house.server, "--count", str(AGENTS), "--token-file", "-"]
        self.house.must("epm-sim", "enrol", *options, "--state-dir", self.house.folder / "fleet", text=token)

    def start(self, number: int) -> None:
        """Start one process of agents; what it was killed with stands on its disk."""
        agents = range(1 + number, AGENTS + 1, PROCESSES)
        name = f"agents-{number}"
        made = command(self.house.folder / "fleet", self.folder, agents, f"{SEED}/{self.happened.total()}")
        self.house.wraps[name] = lambda _: made
        output = self.house.start(name, "epm-agent").output
        self.house.wait_for("the agents", lambda: output.read_text(encoding="utf-8"))

    def live(self, seconds: float, name: str = "server") -> None:
        """Let everybody go on for so long; this one must."""
        with pytest.raises(subprocess.TimeoutExpired):
            self.house.programs[name].process.wait(seconds)

    def kill_server(self) -> None:
        """Kill the server, and start it again; sometimes agents die while their events wait, or it dies once more before it serves."""
        self.house.programs.pop("server").kill()
        self.happened["server killed"] += 1
        if self.die.random() < 0.2:
            self.house.launch()
            self.live(self.die.uniform(0.1, 2))
            self.house.programs.pop("server").kill()
            self.happened["server killed while it started"] += 1
        if self.happened["server killed"] == 1 or self.die.random() < 0.3:
            self.live(self.die.uniform(0.5, 1.5), "agents-0")
            self.kill_agents()
        self.house.serve(settled=False)

    def kill_agents(self) -> None:
        """Kill one process of agents, sometimes in the middle of an event, and start it again."""
        number = self.die.randrange(PROCESSES)
        program = self.house.programs.pop(f"agents-{number}")
        torn = self.die.random() < 0.5
        program.process.send_signal(signal.SIGUSR1 if torn else signal.SIGKILL)
        assert program.process.wait(30) == -signal.SIGKILL, program.log.read_text(encoding="utf-8")
        self.happened["agents killed in the middle of an event" if torn else "agents killed"] += 1
        self.start(number)

    def storm(self, seconds: float) -> None:
        """Kill at random moments for so long."""
        end = time.monotonic() + seconds
        while time.monotonic() < end or self.happened["server killed"] < FEWEST_KILLS:
            self.live(self.die.uniform(0.2, 3))
            if self.die.random() < 0.4:
                self.kill_agents()
                self.live(self.die.uniform(0, 1))
            self.kill_server()

    def calm(self) -> None:
        """Let the agents write no more, wait until they are rid of everything, and end the server."""
        for number in range(PROCESSES):
            name = f"agents-{number}"
            log_of = self.house.programs[name].log
            assert self.house.end(name) == 0, log_of.read_text(encoding="utf-8")
        self.house.end("server")


@pytest.fixture
def reporting(tmp_path: Path, empty_database_url: str) -> Iterator[Reporting]:
    settings = {"EPM_DATABASE_URL": empty_database_url} if empty_database_url.startswith("postgresql") else {}
    folder = tmp_path / "house"
    folder.mkdir()
    with installation(folder, **settings) as house:
        made = Reporting(house, random.Random(SEED))  # noqa: S311 - a die, no secret
        made.enrol()
        try:
            yield made
        finally:
            for name in [name for name in house.programs if name.startswith("agents")]:
                house.programs.pop(name).kill()


async def places(database: Database) -> list[tuple[str, str, int, str]]:
    """Return every stored event: device, journal, number and id."""
    journal, found = tables.JOURNAL.c, list[tuple[str, str, int, str]]()
    async with database.read() as tx:
        for table in EVENTS:
            joined = sa.join(table, tables.JOURNAL, table.c.journal_key == journal.journal_key)
            asked = sa.select(journal.device_id, journal.journal_id, table.c.seq, table.c.event_id)
            found += [
                (row.device_id, row.journal_id, row.seq, row.event_id)
                for row in await tx.execute(asked.select_from(joined))
            ]
    return found


async def rows(database: Database, table: sa.Table) -> int:
    async with database.read() as tx:
        return int((await tx.execute(sa.select(sa.func.count()).select_from(table))).scalar_one())


async def test_whatever_is_killed_everything_ever_written_is_stored_exactly_once(
    reporting: Reporting, empty_database_url: str
) -> None:
    for number in range(PROCESSES):
        reporting.start(number)
    reporting.storm(SECONDS)
    reporting.calm()

    noted = notes(reporting.folder)
    begun = {(one.device_id, one.seq, one.event_id) for one in noted if one.word == BEGUN}
    written = {(one.device_id, one.seq, one.event_id) for one in noted if one.word == WRITTEN}
    own = reporting.house.data_dir / "reporting.db"
    database = await Database.connect(
        empty_database_url if empty_database_url.startswith("postgresql") else f"sqlite:///{own}", service="reporting"
    )
    stored = await places(database)
    there = {(device_id, seq, event_id) for device_id, _, seq, event_id in stored}
    told = f"seed {SEED!r}, {dict(reporting.happened)}, {len(written)} written, {len(stored)} stored"
    log.info("%s: %s", empty_database_url.partition(":")[0], told)

    assert written - there == set(), told
    assert there - begun == set(), told
    assert len(stored) == len(there) == len({event_id for _, _, event_id in there}), told
    numbers: dict[tuple[str, str], list[int]] = {}
    for device_id, journal_id, seq, _ in stored:
        numbers.setdefault((device_id, journal_id), []).append(seq)
    assert all(sorted(seqs) == list(range(1, len(seqs) + 1)) for seqs in numbers.values()), told
    assert len(numbers) == AGENTS * len(JOURNALS), told
    assert [await rows(database, table) for table in (tables.GAP, tables.DEAD_LETTER)] == [0, 0], told
    torn = reporting.happened["agents killed in the middle of an event"]
    assert len(begun - written) >= torn, told
    assert {one.kind for one in noted} == {"decided", "completed", "diagnostic"}
    await check(database)
    await database.close()
