"""Measure distribution: a fleet of devices on policy streams, beside a bare grpc.aio server that pushes the same bytes.

The policy service runs in a process of its own, as an operator starts it, with its SQLite database on disk; the rbac and
device services beside it are played, so that nothing else is measured. Virtual devices connect over mutual TLS, each with a
certificate of its own, and answer what they are sent. Then the same fleet meets a server with the same options and
certificates that decides, signs and stores nothing. Everybody shares the machine's cores. Measured are the storm when all
connect at once, memory and CPU while nothing happens, one change to all, changes that touch ten devices (of a policy, of a
group, of the devices themselves), and the return of all with an unchanged policy, who must be sent no document. A change
counts from before the administrator's call, and as done once the last acknowledgement is in the database.

Run by `make bench` or `python benchmarks/distribution.py [--agents N] [--rounds N] [--idle SECONDS]`. Writes
results/distribution.json.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import sqlite3
import statistics
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from benchmarks.distributing.bare import Files, Words, run_bare
from benchmarks.distributing.fleet import Member, Opened, allow_many_connections, run_fleet
from benchmarks.distributing.neighbours import (
    REGIONS,
    Directory,
    device_group,
    directory_device,
    neighbours,
    run_policy,
)
from benchmarks.distributing.policies import Administrator
from services._chassis import datadir, logging, pki
from services._chassis.config import SERVICES, ServiceSettings
from services._chassis.server import Host
from tests.fakes.access import FakeAccess

RESULTS = Path(__file__).resolve().parent / "results" / "distribution.json"
TOUCHED = 10
QUIET = 0.05
"""Share of a core below which a server has settled."""

SPAWN = multiprocessing.get_context("spawn")
TICKS = os.sysconf("SC_CLK_TCK")


class Process:
    """Run something in a process of its own, at the other end of a pipe."""

    def __init__(self, run: Callable[..., None], *arguments: object) -> None:
        self.pipe, other = multiprocessing.Pipe()
        self.process = SPAWN.Process(target=run, args=(other, *arguments))
        self.process.start()

    async def hear(self) -> Any:
        """Wait for what it says."""
        return await asyncio.to_thread(self.pipe.recv)

    async def ask(self, *command: object) -> Any:
        """Tell it to do something, and wait for the answer."""
        self.pipe.send(command)
        return await self.hear()

    @property
    def cpu(self) -> float:
        """Return the seconds of CPU that it has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    @property
    def memory(self) -> float:
        """Return its resident memory in KiB."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text(encoding="utf-8").split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE") / 1024

    async def settled(self) -> None:
        """Wait until it does nothing any more."""
        share = 1.0
        while share > QUIET:
            share = await self.share(1.0)

    async def share(self, seconds: float) -> float:
        """Return how much of a core it uses in the next seconds."""
        cpu, began = self.cpu, monotonic()
        await asyncio.sleep(seconds)
        return (self.cpu - cpu) / (monotonic() - began)


class Trial:
    """Let a fleet meet a server, step by step."""

    def __init__(self, server: Process, fleet: Process, address: str, agents: int) -> None:
        self.values: dict[str, float] = {}
        self._server = server
        self._fleet = fleet
        self._address = address
        self._agents = agents

    async def storm(self, name: str, offers: int) -> Opened:
        """Let all connect at once."""
        memory, cpu = self._server.memory, self._server.cpu
        opened: Opened = await self._fleet.ask("open", self._address)
        self.values[f"{name}_seconds"] = opened.settled - opened.began
        await self._server.settled()
        self.values[f"{name}_cpu_ms_per_agent"] = (self._server.cpu - cpu) / self._agents * 1000
        self.values[f"{name}_kib_per_agent"] = (self._server.memory - memory) / self._agents
        self.values[f"{name}_refused"] = opened.refused
        self.values[f"{name}_throttled"] = opened.throttled
        self.values[f"{name}_documents"] = opened.offers
        if opened.offers < offers:
            raise SystemExit(f"{name}: {opened.offers} documents were sent, and at least {offers} were expected")
        return opened

    async def idle(self, seconds: float) -> None:
        """Let nothing happen."""
        self.values["idle_cpu_percent"] = await self._server.share(seconds) * 100

    async def change(
        self, name: str, devices: int, make: Callable[[], Awaitable[object]], kept: Callable[[], bool]
    ) -> None:
        """Change what these devices are to have, and wait until the last one has acknowledged and that is kept."""
        cpu = self._server.cpu
        await self._fleet.ask("expect", devices)
        began = monotonic()
        await make()
        acked = await self._fleet.hear()
        await until(kept, 0.002)
        self.values[f"{name}_seconds"] = monotonic() - began
        self.values[f"{name}_half_seconds"] = acked.half - began
        self.values[f"{name}_acked_seconds"] = acked.last - began
        await self._server.settled()
        self.values[f"{name}_cpu_ms_per_agent"] = (self._server.cpu - cpu) / devices * 1000

    async def leave(self) -> None:
        """Let all go."""
        await self._fleet.ask("close")
        await self._server.settled()


class Bench:
    """Hold an installation and a fleet that belongs to it."""

    def __init__(self, folder: Path, agents: int) -> None:
        self.folder = folder
        self.agents = agents
        self.settings = ServiceSettings(data_dir=folder, public_port=0, mesh_port=0, drain_grace=timedelta(0))
        datadir.prepare(self.settings, SERVICES, now=datetime.now(UTC))
        self.roots = self.settings.ca.read_bytes()
        self._members = enrolled(self.settings, agents)

    @asynccontextmanager
    async def fleet(self) -> AsyncIterator[Process]:
        """Start the devices."""
        fleet = Process(run_fleet, self._members, self.roots)
        yield fleet
        fleet.pipe.send(("end",))
        await asyncio.to_thread(fleet.process.join)

    async def bare(self, words: Words, idle: float) -> dict[str, float]:
        """Measure the bare server."""
        files = self.settings.alone("policy").mesh_files
        shown = Files(files.key.read_bytes(), files.certificate.read_bytes(), self.roots)
        server = Process(run_bare, words, shown)
        address = await server.hear()
        async with self.fleet() as fleet:
            trial = Trial(server, fleet, address, self.agents)
            await trial.storm("storm", self.agents)
            await trial.idle(idle)
            await trial.change("all", self.agents, partial(server.ask, "push"), lambda: True)
            await trial.leave()
            await trial.storm("return", 0)
        server.pipe.send(("end",))
        await asyncio.to_thread(server.process.join)
        return trial.values

    async def policy(self, idle: float) -> tuple[dict[str, float], Words]:
        """Measure the policy service; return what it said as well."""
        access = FakeAccess()
        token = access.owner()
        shown = [directory_device(member.device_id, number) for number, member in enumerate(self._members)]
        directory = Directory(shown)
        beside = Host(self.settings.alone("device"))
        address = beside.bind().mesh_address
        beside.add(neighbours(access, directory))
        await beside.start()
        settings = self.settings.alone("policy")
        server = Process(
            run_policy, replace(settings, rbac_address=address, device_address=address), self.folder / "policy.log"
        )
        mesh, public = await server.hear()
        async with self.fleet() as fleet, Administrator.at(public, self.roots, token) as administrator:
            trial = Trial(server, fleet, mesh, self.agents)
            words = await self._measure_policy(trial, directory, administrator, idle)
        server.process.terminate()
        await asyncio.to_thread(server.process.join)
        await beside.stop()
        return trial.values, words

    async def _measure_policy(
        self, trial: Trial, directory: Directory, administrator: Administrator, idle: float
    ) -> Words:
        names = [device.name for device in directory.devices]
        regions = [device_group(region, where=f'tag = "{region}"') for region in REGIONS]
        directory.put(groups=[*regions, device_group("lab", members=names[:TOUCHED])])
        await administrator.begin(directory.revision)
        await until(lambda: directory.states >= self.agents, 0.05)
        opened = await trial.storm("storm", self.agents)
        await trial.idle(idle)
        await trial.change("all", self.agents, partial(administrator.change, "tools-0"), self._kept)
        await trial.change("ten_policy", TOUCHED, partial(administrator.change, "lab"), self._kept)

        async def regroup() -> None:
            directory.put(groups=[device_group("lab", members=names[: 2 * TOUCHED])])

        async def move() -> None:
            moved = [*directory.devices[-TOUCHED:]]
            for device in moved:
                device.tags[:] = ["elsewhere"]
            directory.put(devices=moved)

        await trial.change("ten_group", TOUCHED, regroup, self._kept)
        await trial.change("ten_devices", TOUCHED, move, self._kept)
        await trial.leave()
        back = await trial.storm("return", 0)
        return Words(welcome=opened.said["welcome"], offer=opened.said["offer"], up_to_date=back.said["up_to_date"])

    def _kept(self) -> bool:
        """Tell whether all devices have the newest document, as far as the database knows."""
        with closing(sqlite3.connect(f"file:{self.folder / 'policy.db'}?mode=ro", uri=True)) as database:
            statement = "SELECT count(*) FROM policy_delivery WHERE applied_revision = revision AND revision > 0"
            return int(database.execute(statement).fetchone()[0]) == self.agents


async def until(reached: Callable[[], bool], pause: float) -> None:
    """Wait for what nobody announces."""
    while not reached():  # noqa: ASYNC110 - another process reaches it
        await asyncio.sleep(pause)


def enrolled(settings: ServiceSettings, agents: int) -> list[Member]:
    """Give certificates to devices, as if they had enrolled; they share one key, for making keys is not measured."""
    authority = pki.load_authority(settings.ca, settings.ca_key)
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    csr, now = request.public_bytes(serialization.Encoding.DER), datetime.now(UTC)
    sign = partial(
        pki.sign_device, authority, csr, trust_domain=settings.trust_domain, now=now, lifetime=timedelta(days=1)
    )
    names = [f"device-{number:05}" for number in range(agents)]
    return [Member(name, sign(device_id=name), pki.private_pem(key)) for name in names]


async def one_round(agents: int, idle: float) -> tuple[dict[str, float], dict[str, float]]:
    """Measure both servers once, with an installation of their own."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder) / "data", agents)
        policy, words = await bench.policy(idle)
        return policy, await bench.bare(words, idle)


def medians(rounds: Sequence[dict[str, float]]) -> dict[str, float]:
    """Take the median of each measure."""
    return {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}


def print_table(policy: dict[str, float], bare: dict[str, float], ratios: dict[str, float]) -> None:
    """Print what was measured."""
    print(f"{'measure':<28}{'policy':>12}{'bare':>12}{'ratio':>9}")
    for name, value in policy.items():
        beside = f"{bare[name]:>12.3f}" if name in bare else f"{'':>12}"
        ratio = f"{ratios[name]:>9.2f}" if name in ratios else ""
        print(f"{name:<28}{value:>12.3f}{beside}{ratio}")


def main() -> None:
    """Measure, print the table, keep the numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--idle", type=float, default=30.0)
    parser.add_argument("--keep", action=argparse.BooleanOptionalAction, default=True)
    arguments = parser.parse_args()
    allow_many_connections()
    logging.configure(level="warning", as_json=True)
    rounds = [asyncio.run(one_round(arguments.agents, arguments.idle)) for _ in range(arguments.rounds)]
    policy, bare = medians([ours for ours, _ in rounds]), medians([theirs for _, theirs in rounds])
    ratios = {
        name: statistics.median(ours[name] / theirs[name] for ours, theirs in rounds)
        for name in bare
        if all(theirs[name] for _, theirs in rounds)
    }
    print(f"{arguments.agents} agents, medians of {arguments.rounds} rounds")
    print_table(policy, bare, ratios)
    if arguments.keep:
        RESULTS.parent.mkdir(exist_ok=True)
        kept = {"agents": arguments.agents, "rounds": arguments.rounds, "policy": policy, "bare": bare, "ratio": ratios}
        RESULTS.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
