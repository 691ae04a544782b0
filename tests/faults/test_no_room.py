"""Disks that are really full: nothing is half applied or half acknowledged, and all goes on by itself once there is room."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.builders.installation import Installation, free_ports
from tests.builders.relay import UP, Relay, relay_to
from tests.faults.house import NAME, arrive, decided, delivery, held, refused, said, settings
from tests.faults.rooms import Room, may_mount

pytestmark = [
    pytest.mark.xdist_group("faults-no-room"),
    pytest.mark.skipif(
        not may_mount(), reason="may not mount a small disk of its own (needs root, or user namespaces)"
    ),
]


@dataclass(frozen=True)
class Rooms:
    """An installation whose server and whose one agent have small disks, with a relay between them."""

    house: Installation
    line: Relay
    server: Room
    agent: Room


@pytest.fixture(scope="module")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rooms]:
    (port,) = free_ports(1)
    with relay_to(port) as line:
        house = Installation(tmp_path_factory.mktemp("house"), mesh=f"127.0.0.1:{port}")
        house.settings = {"EPM_ADVERTISED_POLICY": line.address, "EPM_POLICY_HEARTBEAT": "PT1S"}
        house.data_dir.mkdir()
        server = Room(house, "server", house.data_dir, size="24m")
        try:
            house.serve(settled=False)
            server.show()
            house.settle()
            house.log_in()
            house.enrol(NAME, "alice")
            agent = Room(house, NAME, house.state(NAME), size="1m")
            house.run_agent(NAME)
            agent.show()
            yield Rooms(house, line, server, agent)
        finally:
            house.close()


@pytest.fixture
def house(rooms: Rooms) -> Installation:
    """Hold a policy in force by which everything is denied."""
    rooms.house.apply(settings("DENY"))
    arrive(rooms.house)
    return rooms.house


def test_an_agent_without_room_keeps_its_policy_and_takes_the_new_one_when_there_is_room(
    house: Installation, rooms: Rooms
) -> None:
    first, applied = held(house), said(house, "policy_applied")
    rooms.agent.fill()
    house.apply(settings("USER_CONFIRMED"))
    assert refused(house) == "the device cannot store the policy (no space left on device)"
    assert held(house) == first
    assert decided(house) != "ELEVATED"
    assert not (house.state(NAME) / ".policy.new").exists()
    rooms.agent.free()
    house.wait_for("what was refused", lambda: delivery(house)["state"] == "APPLIED")
    assert (held(house), decided(house)) == (first + 1, "ELEVATED")
    assert said(house, "policy_applied") == applied + 1


def test_a_server_without_room_takes_no_answer_and_no_change_until_there_is_room(
    house: Installation, rooms: Rooms
) -> None:
    first, applied = held(house), said(house, "policy_applied")
    rooms.line.hold(UP)
    house.apply(settings("USER_CONFIRMED"))
    house.wait_for("the offer in force", lambda: held(house) == first + 1)
    rooms.server.fill()
    rooms.line.let_go(UP)
    house.wait_for("the answer that cannot be kept", lambda: said(house, "database_unavailable", "server"))
    assert delivery(house)["state"] == "OFFERED"
    done = house.run("epm", "apply", "-f", written(house, settings("DENY")))
    assert done.code != 0
    assert "does not answer; try again later" in done.errors
    rooms.server.free()
    arrive(house)
    assert (held(house), decided(house)) == (first + 1, "ELEVATED")
    assert said(house, "policy_applied") == applied + 1
    house.apply(settings("DENY"))
    arrive(house)
    assert decided(house) == "DENIED"


def written(house: Installation, documents: str) -> str:
    path = house.folder / "later.yaml"
    path.write_text(documents, encoding="utf-8")
    return str(path)
