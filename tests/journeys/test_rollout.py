"""Did the policy arrive? Two policies and three agents: one that is stopped, one that refuses; `epm rollout` tells the truth."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from agent_stub.policy.keeper import POLICY
from tests.builders.installation import Installation, Program, installation

WORKSTATIONS = """
apiVersion: openepm/v1
kind: ElevationSettingsPolicy
metadata: {name: workstations}
spec: {defaultResponse: DENY, assignments: {include: [{group: all-devices}]}}
---
"""
TOOLS = """
apiVersion: openepm/v1
kind: ElevationRulesPolicy
metadata: {name: tools}
spec:
  platform: LINUX
  rules:
    - {name: who-am-i, description: "DESCRIPTION", childProcesses: DENY, detection: {fileName: id, filePath: /usr/bin}}
  assignments: {include: [{group: all-devices}]}
"""
NAMES = ("willing", "stopped", "refusing")
pytestmark = pytest.mark.xdist_group("rollout")


@pytest.fixture
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with installation(tmp_path_factory.mktemp("house")) as built:
        for name in NAMES:
            built.enrol(name)
            built.run_agent(name)
        built.wait_for("the devices", lambda: len(known(built)) == len(NAMES))
        yield built


def known(house: Installation) -> list[Any]:
    """Return the devices that the policy service has heard of."""
    found: list[Any] = house.must("epm", "get", "device-policy-states", "--output", "json").json()
    return found


def tools(description: str) -> str:
    return TOOLS.replace("DESCRIPTION", description)


def watching(house: Installation, policy: str) -> Program:
    """Watch a rollout in a process of its own, which ends by itself."""
    house.start("watch", "epm", "rollout", "status", policy, "--watch", "--output", "json")
    return house.programs.pop("watch")


def heard(watch: Program) -> list[Any]:
    """Return what a watch has told so far."""
    lines = watch.output.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def counts(rollout: Any) -> dict[str, int]:
    """Return the counts that are not nought."""
    names = ("pending", "offered", "applied", "rejected", "leaving", "stale", "offline")
    return {name: rollout[name] for name in names if rollout[name]}


def devices(house: Installation, *options: str) -> list[Any]:
    found: list[Any] = house.must("epm", "rollout", "devices", "tools", *options, "--output", "json").json()
    return found


def test_a_rollout_is_watched_while_it_happens(house: Installation) -> None:
    house.apply(WORKSTATIONS + tools("first"))
    arrived = house.run("epm", "rollout", "status", "tools", "--watch", "--timeout", "30s")
    assert (arrived.code, arrived.output.splitlines()[-1].endswith(": 3 of 3 applied")) == (0, True), arrived

    house.end("stopped")
    # The refusing device has no room: what it would write the document to cannot be made.
    obstacle = house.state("refusing") / f".{POLICY}.new"
    obstacle.mkdir()
    house.wait_for("the end of the stream", lambda: len(devices(house, "--offline")) == 1)
    house.apply(tools("second"))
    watch = watching(house, "tools")
    try:
        partly = {"applied": 1, "rejected": 1, "pending": 1, "offline": 1}
        house.wait_for("two answers", lambda: partly in [counts(each) for each in heard(watch)])
        assert watch.process.poll() is None

        [refusing] = devices(house, "--state", "REJECTED")
        assert (refusing["deviceName"], refusing["connected"], refusing["stale"]) == ("refusing", True, False)
        assert "policy" in refusing["rejections"][0]
        [stopped] = devices(house, "--state", "PENDING")
        assert (stopped["deviceName"], stopped["offlineSince"] is not None) == ("stopped", True)
        assert stopped["appliedRevision"] < heard(watch)[-1]["subject"]["revision"]
        # The other policy is where it was: a document that is refused takes nothing away.
        assert house.must("epm", "rollout", "status", "workstations", "--output", "json").json()["applied"] == 3

        house.run_agent("stopped")
        assert watch.process.wait(30) == 1
        assert counts(heard(watch)[-1]) == {"applied": 2, "rejected": 1}
        assert "1 rejected it" in watch.log.read_text(encoding="utf-8")
    finally:
        watch.end()

    obstacle.rmdir()
    house.apply(tools("third"))
    done = house.run("epm", "rollout", "status", "tools", "--watch", "--timeout", "30s")
    assert (done.code, done.output.splitlines()[-1].endswith(": 3 of 3 applied")) == (0, True), done


def test_conflicts_of_a_device_are_shown_until_the_policies_agree(house: Installation) -> None:
    other = WORKSTATIONS.replace("workstations", "strict").replace("DENY", "USER_CONFIRMED")
    house.apply(WORKSTATIONS + other)
    house.must("epm", "rollout", "status", "strict", "--watch", "--timeout", "30s")
    shown = house.must("epm", "devices", "show", "willing", "--output", "json").json()
    [conflict] = shown["policy"]["conflicts"]
    assert (conflict["setting"], conflict["effective"]) == ("defaultResponse", "DENY")
    assert {said["policy"]: said["value"] for said in conflict["values"]} == {
        "strict": "USER_CONFIRMED",
        "workstations": "DENY",
    }
    house.apply(WORKSTATIONS + other.replace("USER_CONFIRMED", "DENY"))
    house.must("epm", "rollout", "status", "strict", "--watch", "--timeout", "30s")
    assert house.must("epm", "devices", "show", "willing", "--output", "json").json()["policy"]["conflicts"] == []
