"""The key that signs policy is exchanged for another one, as the runbook says, under devices that are near, far and new."""

import json
from collections.abc import Iterator
from functools import partial
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
  assignments: {include: [{group: all-devices}]}
"""
NAMES = ("near", "far", "new")
pytestmark = pytest.mark.xdist_group("key-rotation")


@pytest.fixture
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with installation(tmp_path_factory.mktemp("house")) as built:
        built.apply(SETTINGS % "true")
        yield built


def keys_of(house: Installation) -> dict[str, set[str]]:
    """Return the keys by which each device verifies policy, as the server's operator sees them."""
    states = house.must("epm", "get", "device-policy-states", "--output", "json").json()
    return {state["deviceName"]: set(state["policyKeyIds"]) for state in states}


def stored_keys(house: Installation, name: str) -> set[str]:
    """Return the keys that a device keeps on its disk."""
    identity: Any = json.loads((house.state(name) / "identity.json").read_text(encoding="utf-8"))
    return set(identity["policy_keys"])


def says(house: Installation, name: str, *, enabled: bool) -> bool:
    """Tell whether the policy in force on a device is this one."""
    done = house.run("epm-agent", "status", "--state-dir", house.state(name), "--output", "json")
    return done.code == 0 and done.json()["policy"]["enabled"] is enabled


def restart(house: Installation) -> None:
    """Restart the server, on the same ports."""
    house.end("server")
    house.serve()


def test_devices_that_are_near_far_and_new_go_on_under_the_new_key(house: Installation) -> None:
    for name in ("near", "far"):
        house.enrol(name)
        house.run_agent(name)
        house.wait_for("the policy", partial(says, house, name, enabled=True))
    [old] = stored_keys(house, "near")
    house.wait_for("the old key", lambda: keys_of(house) == {"near": {old}, "far": {old}})
    house.end("far")

    rotated = house.must("epm", "ca", "rotate-policy-key", "--data-dir", house.data_dir).output
    new = rotated.split()[3]
    restart(house)
    house.wait_for("the introduction", lambda: stored_keys(house, "near") == {old, new})
    assert keys_of(house)["far"] == {old}
    house.enrol("new")
    assert stored_keys(house, "new") == {old, new}
    for name in ("far", "new"):
        house.run_agent(name)
        house.wait_for("the policy", partial(says, house, name, enabled=True))
    house.wait_for("the introduction", lambda: stored_keys(house, "far") == {old, new})
    for name in ("near", "far"):
        house.end(name)
        house.run_agent(name)
    both = {old, new}
    house.wait_for("both keys", lambda: keys_of(house) == {"near": both, "far": both, "new": both})

    refused = house.run("epm", "ca", "retire-policy-key", new, "--data-dir", house.data_dir)
    assert (refused.code, "newest key" in refused.errors) == (1, True)
    house.must("epm", "ca", "retire-policy-key", old, "--data-dir", house.data_dir)
    house.end("far")
    restart(house)
    house.wait_for("the retirement", lambda: stored_keys(house, "near") == stored_keys(house, "new") == {new})
    house.apply(SETTINGS % "false")
    house.run_agent("far")
    for name in NAMES:
        house.wait_for("the new policy", partial(says, house, name, enabled=False))
    house.wait_for("the retirement everywhere", lambda: all(stored_keys(house, name) == {new} for name in NAMES))
    house.end("near")
    house.end("server")
    house.run_agent("near")
    house.wait_for("the stored policy", lambda: says(house, "near", enabled=False))
    assert "policy_cache_damaged" not in house.programs["near"].log.read_text(encoding="utf-8")
