"""The EPM states of a device at a whole installation: killed and revived, server and agent, while policies come and go."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.builders.installation import Installation, installation

SETTINGS = """
apiVersion: openepm/v1
kind: ElevationSettingsPolicy
metadata: {name: workstations}
spec:
  enabled: %s
  defaultResponse: DENY
  assignments: {include: [%s]}
"""
EVERYBODY = "{group: all-devices}"
NAME = "ws-1"
pytestmark = pytest.mark.xdist_group("lifecycle")


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Installation]:
    with installation(tmp_path, EPM_DEPROVISION_AFTER="PT5S", EPM_CHECK_IN_INTERVAL="PT2S") as built:
        built.enrol(NAME, "alice")
        yield built


def device(house: Installation, name: str = NAME) -> Any:
    return house.must("epm", "devices", "show", name, "--output", "json").json()


def reach(house: Installation, state: str) -> Any:
    """Wait until the device is in the state, and return it."""
    return house.wait_for(state, lambda: (found := device(house))["epmState"] == state and found)


def states(house: Installation, device_id: str) -> list[str]:
    """Return the states that the device entered, the first one first."""
    told = house.must("epm", "devices", "history", device_id, "--limit", "0", "--output", "json").json()
    return [entry["after"] for entry in reversed(told) if entry["kind"] == "EPM_STATE"]


def test_a_device_goes_through_all_its_states_whoever_dies_meanwhile(house: Installation) -> None:
    house.apply(SETTINGS % ("true", EVERYBODY))
    reach(house, "PROVISIONING")  # nothing of that waits for the device
    house.run_agent(NAME)
    active = reach(house, "ACTIVE")
    assert active["epmStateReason"] == "A settings policy that enables EPM applies, and the device acknowledged it."

    house.apply(SETTINGS % ("true", ""))
    pending = reach(house, "DEPROVISION_PENDING")
    assert pending["deprovisionTime"][:19] in pending["epmStateReason"]
    house.apply(SETTINGS % ("false", EVERYBODY))
    reach(house, "DISABLED")
    assert house.status(NAME)["component"]["stands"]

    house.programs.pop(NAME).kill()
    house.apply(SETTINGS % ("false", ""))
    reach(house, "DEPROVISION_PENDING")
    house.programs.pop("server").kill()
    house.serve()
    waiting = reach(house, "DEPROVISIONING")  # nobody is there to confirm
    assert waiting["deprovisionTime"] is None

    house.run_agent(NAME)
    reach(house, "NOT_PROVISIONED")
    assert not house.status(NAME)["component"]["stands"]
    house.apply(SETTINGS % ("true", EVERYBODY))
    reach(house, "ACTIVE")
    assert states(house, active["deviceId"]) == [
        *("PROVISIONING", "ACTIVE"),
        *("DEPROVISION_PENDING", "PROVISIONING", "DISABLED"),
        *("DEPROVISION_PENDING", "DEPROVISIONING", "NOT_PROVISIONED"),
        *("PROVISIONING", "ACTIVE"),
    ]


def test_a_device_is_banned_let_back_in_and_deleted_by_its_name(house: Installation) -> None:
    first = device(house)["deviceId"]
    house.must("epm", "devices", "ban", NAME, "--reason", "stolen")
    assert device(house)["enrolmentState"] == "BANNED"
    house.must("epm", "devices", "lift-ban", NAME, "--reason", "found")
    house.state(NAME).rename(house.folder / "lost")
    house.enrol(NAME)
    assert device(house)["deviceId"] == first
    told = house.must("epm", "devices", "history", NAME, "--output", "json").json()
    enrolments = [(each["after"], each["reason"], each["actor"]) for each in told if each["kind"] == "ENROLMENT"]
    assert enrolments[1:3] == [("RETIRED", "found", "user:owner"), ("BANNED", "stolen", "user:owner")]
    house.must("epm", "devices", "delete", NAME)
    assert house.run("epm", "devices", "history", first).code == 1
