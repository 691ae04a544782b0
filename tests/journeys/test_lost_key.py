"""A device that lost its disk comes back as itself, and what lives on of its old self is found out."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.builders.installation import Installation, installation
from tests.journeys.test_device_life import EVERYBODY, NAME, SETTINGS, connected, device, links, meet

OLD = "old-self"
pytestmark = pytest.mark.xdist_group("lost-key")


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Installation]:
    with installation(tmp_path, EPM_ON_SUSPECTED_CLONE="quarantine") as built:
        built.apply(SETTINGS % EVERYBODY)
        yield built


def history(house: Installation, kind: str) -> list[Any]:
    """Return what became of the device, earliest first."""
    entries: list[Any] = house.must("epm", "devices", "history", NAME, "--output", "json").json()
    return [entry["after"] for entry in reversed(entries) if entry["kind"] == kind]


def streaming(house: Installation) -> bool:
    found = links(house)
    return not found or any(found[name]["connected"] for name in ("policy", "events"))


def test_a_device_that_lost_its_disk_is_itself_again_and_a_copy_of_its_old_self_is_found_out(
    house: Installation,
) -> None:
    meet(house)
    house.run_agent(NAME)
    house.wait_for("the policy", lambda: device(house)["epmState"] == "ACTIVE")
    known = device(house)["deviceId"]
    house.end(NAME)
    shutil.move(house.state(NAME), house.state(OLD))

    asked = "--device", NAME, "--reason", "lost its disk", "--output", "json"
    text = house.must("epm", "enrolment-token", "create", *asked).json()["secret"]
    where = "--server", house.server, "--name", NAME, "--state-dir", house.state(NAME)
    house.must("epm-agent", "enroll", *where, "--token-file", "-", text=text)
    house.run_agent(NAME)
    house.wait_for("the streams", lambda: connected(house))
    house.wait_for("the policy again", lambda: house.status(NAME)["component"]["stands"])
    assert device(house)["deviceId"] == known
    assert device(house)["suspectedClone"] is None
    assert history(house, "ENROLMENT") == ["ENROLLED", "ENROLLED"]
    house.wait_for("the acknowledgement", lambda: device(house)["epmState"] == "ACTIVE")
    begun = ["PROVISIONING", "ACTIVE", "NOT_PROVISIONED", "PROVISIONING", "ACTIVE"]
    assert history(house, "EPM_STATE") == begun  # nothing that the lost disk held counts for the new one

    house.run_agent(OLD)
    house.wait_for("the mark", lambda: device(house)["suspectedClone"] is not None)
    marked = device(house)  # and no more: what was given up takes nothing away from what came after it
    assert (marked["quarantined"], marked["epmState"]) == (False, "ACTIVE")
    assert connected(house)
    house.end(OLD)

    house.must("epm", "devices", "clear-clone", NAME, "--reason", "the old disk was found and wiped")
    assert device(house)["suspectedClone"] is None
    assert history(house, "SUSPECTED_CLONE") == ["SUSPECTED", "CLEARED"]

    house.must("epm", "devices", "ban", NAME, "--reason", "stolen")
    house.wait_for("the cut", lambda: not streaming(house))
