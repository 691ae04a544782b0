"""The life of a device at a whole installation: met by its token, renewed, deprovisioned, retired."""

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
  enabled: true
  defaultResponse: USER_CONFIRMED
  assignments: {include: [%s]}
"""
EVERYBODY, NOBODY = "{group: all-devices}", ""
NAME = "ws-1"
pytestmark = pytest.mark.xdist_group("device-life")


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Installation]:
    # Certificates begin minutes before they are signed: half of this life is over at once.
    short = {"EPM_DEVICE_CERTIFICATE_LIFETIME": "PT20S", "EPM_DEPROVISION_AFTER": "PT2S"}
    with installation(tmp_path, **short) as built:
        built.apply(SETTINGS % EVERYBODY)
        yield built


def meet(house: Installation) -> None:
    """Enrol a device by a token alone."""
    token = house.must("epm", "enrolment-token", "create", "--quota", "1", "--output", "json").json()["secret"]
    where = "--server", house.server, "--name", NAME, "--state-dir", house.state(NAME)
    house.must("epm-agent", "enroll", *where, "--token-file", "-", text=token)


def device(house: Installation) -> Any:
    return house.must("epm", "get", "devices", NAME, "--output", "json").json()


def renewals(house: Installation) -> int:
    return house.programs[NAME].log.read_text(encoding="utf-8").count("certificate_promoted")


def links(house: Installation) -> Any:
    """Return the links of the agent; none while it does not answer."""
    done = house.run("epm-agent", "status", "--state-dir", house.state(NAME), "--output", "json")
    return done.json()["links"] if done.code == 0 else {}


def problem(house: Installation) -> str:
    """Return why the agent has no stream of policy; empty while it does not answer."""
    found = links(house)
    return str(found["policy"]["problem"]) if found else ""


def connected(house: Installation) -> bool:
    found = links(house)
    return bool(found) and all(link["connected"] for link in found.values())


def test_a_device_lives_by_ever_new_certificates_until_it_is_retired(house: Installation) -> None:
    meet(house)
    house.run_agent(NAME)
    house.wait_for("a second renewal", lambda: renewals(house) >= 2)
    house.wait_for("the streams", lambda: connected(house))
    house.wait_for("the component", lambda: house.status(NAME)["component"]["stands"])

    house.programs.pop(NAME).kill()
    house.run_agent(NAME)
    house.wait_for("the streams of another run", lambda: connected(house))
    assert house.elevate(NAME, "alice", "/usr/bin/env", options=["--answer-confirm"])["result"] == "ELEVATED"
    house.wait_for("the event", lambda: house.status(NAME)["eventsWaiting"] == 0)
    assert device(house)["suspectedClone"] is None

    house.apply(SETTINGS % NOBODY)
    house.wait_for("the confirmed removal", lambda: device(house)["epmState"] == "NOT_PROVISIONED")
    assert not house.status(NAME)["component"]["stands"]

    house.must("epm", "devices", "retire", NAME, "--reason", "sold")
    house.wait_for("the farewell", lambda: problem(house) == "closed by the server: RETIRED")
    house.wait_for("the end of the events", lambda: (found := links(house)) and not found["events"]["connected"])
