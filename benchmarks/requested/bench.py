"""An installation and its devices: some of their users ask, the others hold their streams; served by the policy service or barely."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import grpc.aio

from benchmarks.distributing.bare import Files
from benchmarks.distributing.fleet import run_fleet
from benchmarks.distributing.neighbours import (
    REGIONS,
    Directory,
    device_group,
    directory_device,
    neighbours,
    run_policy,
)
from benchmarks.distributing.policies import Administrator
from benchmarks.distribution import Process, enrolled, until
from benchmarks.requested.agents import FILE, Enrolled, Person, run_agents
from benchmarks.requested.approver import Approver, PublicDesk
from benchmarks.requested.bare import BareDesk, Sizes, run_bare, run_bare_devices
from benchmarks.requested.disk import run_disk
from benchmarks.requested.trial import Load, Took, Trial
from services._chassis import datadir, pki
from services._chassis.config import SERVICES, ServiceSettings
from services._chassis.server import Host
from tests.fakes.access import FakeAccess

SETTINGS = "workstations"
HURRY = 3.0
"""How much faster users ask the bare server, which is idle all the same: to be done sooner."""

WARMING = Load(name="warming", asked=20, rate=20)


@dataclass(frozen=True, slots=True)
class Measured:
    """Hold what each load took, with few devices connected and with all, and how large the messages were."""

    few: dict[str, Took]
    many: dict[str, Took]
    sizes: Sizes


class Bench:
    """Hold the installation."""

    def __init__(self, folder: Path, *, agents: int, asking: int, loads: Sequence[Load]) -> None:
        self.folder = folder
        self._loads = loads
        self._settings = ServiceSettings(data_dir=folder, public_port=0, mesh_port=0, drain_grace=timedelta(0))
        datadir.prepare(self._settings, SERVICES, now=datetime.now(UTC))
        self._roots = self._settings.ca.read_bytes()
        members = enrolled(self._settings, agents)
        self._directory = [directory_device(member.device_id, number) for number, member in enumerate(members)]
        self._asking, self._silent = members[:asking], members[asking:]

    async def policy(self, devices: Path, database_url: str = "") -> Measured:
        """Measure the policy service; devices keep their files in a folder."""
        people = [
            Person(member, shown.name, shown.users[0])
            for member, shown in zip(self._asking, self._directory, strict=False)
        ]
        keys = pki.load_policy_public_keys(self._settings.policy_public_keys)
        told = {pki.policy_key_id(key): key.public_bytes_raw() for key in keys}
        known = Enrolled(self._settings.trust_domain, self._roots, told)
        async with (
            self._serving(database_url) as (server, mesh, desk),
            _process(run_fleet, self._silent, self._roots) as fleet,
            _process(run_agents, people, known, devices) as crew,
            _process(run_disk, self.folder) as disk,
        ):
            few, many = await self._meet(Trial(server, crew, Approver(desk), disk), fleet, mesh)
            *_, offer = await crew.ask("usable", [])
        chain = sum(len(certificate.der) for signer in FILE.signers for certificate in (signer.leaf, *signer.chain))
        return Measured(few, many, Sizes(submitted=desk.told_bytes + chain, told=desk.told_bytes, offer=offer))

    async def bare(self, sizes: Sizes) -> Measured:
        """Measure the bare server."""
        files = self._settings.alone("policy").mesh_files
        shown = Files(files.key.read_bytes(), files.certificate.read_bytes(), self._roots)
        async with (
            _process(run_bare, sizes, shown) as server,
            _process(run_fleet, self._silent, self._roots) as fleet,
            _process(run_bare_devices, self._asking, self._roots, sizes) as crew,
            _process(run_disk, self.folder) as disk,
        ):
            mesh, public = await server.hear()
            async with self._channel(public) as channel:
                trial = Trial(server, crew, Approver(BareDesk(channel)), disk, hurry=HURRY)
                few, many = await self._meet(trial, fleet, mesh)
        return Measured(few, many, sizes)

    async def _meet(self, trial: Trial, fleet: Process, mesh: str) -> tuple[dict[str, Took], dict[str, Took]]:
        """Let users ask while few are connected, and while all are."""
        await trial.crew.ask("connect", mesh)
        async with trial.approver.watching():
            await trial.run(WARMING)
            await _nothing_owed()
            few = {load.name: await trial.run(load) for load in self._loads}
            await fleet.ask("open", mesh)
            await trial.server.settled()
            await _nothing_owed()
            many = {load.name: await trial.run(load) for load in self._loads}
        return few, many

    @asynccontextmanager
    async def _serving(self, database_url: str) -> AsyncIterator[tuple[Process, str, PublicDesk]]:
        """Start the service beside what it needs, and author policies by which users may ask."""
        access, directory = FakeAccess(), Directory(self._directory)
        token = access.owner()
        beside = Host(self._settings.alone("device"))
        address = beside.bind().mesh_address
        beside.add(neighbours(access, directory))
        await beside.start()
        settings = replace(
            self._settings.alone("policy"), database_url=database_url, rbac_address=address, device_address=address
        )
        regions = [device_group(region, where=f'tag = "{region}"') for region in REGIONS]
        directory.put(groups=[*regions, device_group("lab", members=[self._directory[0].name])])
        server = Process(run_policy, settings, self.folder / "policy.log")
        try:
            mesh, public = await server.hear()
            async with self._channel(public) as channel, Administrator.at(public, self._roots, token) as administrator:
                desk = PublicDesk(channel, token)
                await administrator.begin(directory.revision)
                await desk.let_users_ask(SETTINGS)
                await until(lambda: directory.states >= len(self._directory), 0.05)
                yield server, mesh, desk
        finally:
            server.process.terminate()
            await asyncio.to_thread(server.process.join)
            await beside.stop()

    def _channel(self, address: str) -> grpc.aio.Channel:
        return grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(self._roots))


async def _nothing_owed() -> None:
    """Let the disk have what the installation wrote when it was made: it would come to it in the middle of a measurement."""
    await asyncio.to_thread(os.sync)


@asynccontextmanager
async def _process(run: Callable[..., None], *arguments: object) -> AsyncIterator[Process]:
    """Have something run in a process of its own, until it is told the end."""
    process = Process(run, *arguments)
    try:
        yield process
        process.pipe.send(("end",))
        await asyncio.to_thread(process.process.join)
    finally:
        process.process.kill()
