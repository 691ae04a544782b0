"""One database alone is restored to an older state: what docs/operations.md says of that, and the way back."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.builders.installation import Installation, installation
from tests.journeys.test_device_life import NAME, connected, device

SETTINGS = """
apiVersion: openepm/v1
kind: ElevationSettingsPolicy
metadata: {name: workstations, description: "%s"}
spec:
  enabled: %s
  defaultResponse: DENY
  assignments: {include: [{group: all-devices}]}
"""
OTHER = "ws-2"
pytestmark = pytest.mark.xdist_group("restore")


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Installation]:
    with installation(tmp_path) as built:
        built.apply(SETTINGS % ("first", "true"))
        built.enrol(NAME, "alice")
        built.run_agent(NAME)
        yield built


def reach(house: Installation, state: str) -> Any:
    return house.wait_for(state, lambda: (found := device(house))["epmState"] == state and found)


def back_up(house: Installation, database: str) -> None:
    """Copy a database while server and agent are stopped."""
    house.end(NAME)
    house.end("server")
    shutil.copy(house.data_dir / database, house.folder / database)
    house.serve()
    house.run_agent(NAME)


def restore(house: Installation, database: str) -> None:
    house.programs.pop("server").kill()
    for newer in house.data_dir.glob(f"{database}*"):
        newer.unlink()
    shutil.copy(house.folder / database, house.data_dir / database)
    house.serve()


def enabled(house: Installation) -> bool:
    """Tell whether the policy on the device turns elevation management on: where it is off, nothing is managed."""
    return bool(house.elevate(NAME, "alice", "/usr/bin/id")["decision"]["outcome"] == "DENY")


def test_restored_policies_reach_devices_and_states_follow_by_themselves(house: Installation) -> None:
    reach(house, "ACTIVE")
    back_up(house, "policy.db")
    house.apply(SETTINGS % ("second", "false"))
    reach(house, "DISABLED")

    restore(house, "policy.db")
    house.wait_for("the policy of the backup", lambda: enabled(house))
    house.wait_for("the rollout", lambda: house.rolled_out("workstations"))
    reach(house, "ACTIVE")

    house.apply(SETTINGS % ("third", "false"))
    reach(house, "DISABLED")


def test_restored_devices_are_let_in_again_and_new_certificates_are_not(house: Installation) -> None:
    known = reach(house, "ACTIVE")["deviceId"]
    house.enrol(OTHER)
    back_up(house, "device.db")
    house.must("epm", "devices", "retire", OTHER)
    house.end(NAME)
    enrol_again(house)
    house.run_agent(NAME)
    house.wait_for("the streams", lambda: connected(house))

    restore(house, "device.db")
    assert house.must("epm", "get", "devices", OTHER, "--output", "json").json()["enrolmentState"] == "ENROLLED"
    house.wait_for(
        "the refusal", lambda: "certificate was replaced" in house.programs[NAME].log.read_text(encoding="utf-8")
    )
    house.end(NAME)
    enrol_again(house)
    house.run_agent(NAME)
    house.wait_for("the streams", lambda: connected(house))
    assert (device(house)["deviceId"], device(house)["suspectedClone"]) == (known, None)


def enrol_again(house: Installation) -> None:
    """Take the disk of the device away, and enrol it with a token for itself."""
    shutil.rmtree(house.state(NAME))
    created = house.must("epm", "enrolment-token", "create", "--device", NAME, "--output", "json").json()
    where = "--server", house.server, "--name", NAME, "--state-dir", house.state(NAME)
    house.must("epm-agent", "enroll", *where, "--token-file", "-", text=created["secret"])
