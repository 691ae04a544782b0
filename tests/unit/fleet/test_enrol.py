import asyncio
from pathlib import Path

import grpc
import pytest

from agent_stub.enrolment import EnrolmentError
from fleet.enrol import Recruiting, recruit
from fleet.members import opened
from tests.fakes.agent_servers import FakeServers


def recruiting(servers: FakeServers, folder: Path, count: int) -> Recruiting:
    return Recruiting(
        state_dir=folder,
        server=servers.public_address,
        ca=servers.installation.authority.pem,
        token=servers.device.token,
        count=count,
        at_once=3,
    )


async def recruited(servers: FakeServers, folder: Path, count: int) -> int:
    return await asyncio.to_thread(recruit, recruiting(servers, folder, count), [0].append)


async def test_a_fleet_grows_by_what_is_missing(tmp_path: Path) -> None:
    async with FakeServers().running() as servers:
        assert await recruited(servers, tmp_path / "fleet", 3) == 3
        assert await recruited(servers, tmp_path / "fleet", 3) == 0
        assert await recruited(servers, tmp_path / "fleet", 5) == 2
        names = [request.device_name for request in servers.device.requests]
        assert sorted(names) == [f"sim-{number:05d}" for number in range(1, 6)]
    assert list((tmp_path / "fleet" / "enrolling").iterdir()) == []


async def test_an_enrolment_that_was_interrupted_goes_on_with_the_same_keys(tmp_path: Path) -> None:
    async with FakeServers().running() as servers:
        servers.device.refusal = (grpc.StatusCode.UNAVAILABLE, "not now")
        with pytest.raises(EnrolmentError, match="not now"):
            await recruited(servers, tmp_path / "fleet", 2)
        kept = {path.parent.name: path.read_bytes() for path in (tmp_path / "fleet").glob("enrolling/*/key.pem")}
        assert kept
        servers.device.refusal = None
        assert await recruited(servers, tmp_path / "fleet", 2) == 2
    with opened(tmp_path / "fleet") as members:
        keys = {member.identity.device_name: member.credentials.key for member in members.read([1, 2])}
    assert kept.items() <= keys.items()


async def test_a_folder_holds_the_fleet_of_one_installation(tmp_path: Path) -> None:
    async with FakeServers().running() as servers:
        await recruited(servers, tmp_path / "fleet", 1)
        servers.public_address = "elsewhere:1"
        with pytest.raises(EnrolmentError, match="holds a fleet of localhost"):
            await recruited(servers, tmp_path / "fleet", 2)
