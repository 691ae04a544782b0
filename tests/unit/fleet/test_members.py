import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agent_stub.files import StateError
from fleet.members import FILE, Member, Members, name_of, opened
from fleet.model import Holding, Standing
from tests.fakes.agent import Installation

SERVER = "localhost:8443"


@pytest.fixture(scope="module")
def house() -> Installation:
    return Installation()


@pytest.fixture
def members(tmp_path: Path) -> Iterator[Members]:
    with opened(tmp_path / "fleet") as found:
        yield found


def member(house: Installation, number: int) -> Member:
    identity = replace(house.identity(), device_id=f"device-{number}", device_name=name_of(number))
    return Member(number, identity, house.credentials())


def test_an_agent_is_read_as_it_was_kept(members: Members, house: Installation) -> None:
    first, second = member(house, 1), member(house, 2)
    members.add(first, SERVER)
    members.add(second, SERVER)
    assert list(members.read([2, 3, 1])) == [second, first]
    assert members.numbers() == {1, 2}
    assert (members.server, members.ca) == (SERVER, first.credentials.ca)
    assert members.names() == {"device-1": "sim-00001", "device-2": "sim-00002"}


def test_an_empty_fleet_has_nobody_and_no_server(members: Members) -> None:
    assert (list(members.read([1])), members.numbers(), members.server, members.ca) == ([], frozenset(), None, b"")


def test_what_agents_hold_is_kept_over_processes_the_newest_counting(
    tmp_path: Path, members: Members, house: Installation
) -> None:
    for number in (1, 2, 3):
        members.add(member(house, number), SERVER)
    members.note({1: Standing(Holding(1, b"a"), "ACTIVE"), 2: Standing(Holding())})
    with opened(tmp_path / "fleet") as another:
        another.note({1: Standing(Holding(2, b"b"), "DISABLED")})
    assert members.standings() == {
        "device-1": Standing(Holding(2, b"b"), "DISABLED"),
        "device-2": Standing(Holding()),
    }


@pytest.mark.usefixtures("members")
def test_keys_are_for_their_owner_alone(tmp_path: Path) -> None:
    assert stat.S_IMODE((tmp_path / "fleet" / FILE).stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "fleet").stat().st_mode) == 0o700


def test_a_file_that_is_no_fleet_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "fleet"
    folder.mkdir(mode=0o700)
    (folder / FILE).write_bytes(b"no database" * 100)
    with pytest.raises(StateError, match=FILE), opened(folder):
        pass
