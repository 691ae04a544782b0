"""The main job, end to end: author a policy, stream it, decide on the device, see it in the report.

Here every program is started as its users start it; elsewhere most are forked off one that has imported everything.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.builders.installation import Installation, served

SETTINGS = """
apiVersion: openepm/v1
kind: ElevationSettingsPolicy
metadata: {name: workstations}
spec:
  enabled: %s
  defaultResponse: DENY
  assignments: {include: [{group: all-devices}]}
"""
RULES = """
---
apiVersion: openepm/v1
kind: Group
metadata: {name: developers}
spec: {type: USER, members: [alice]}
---
apiVersion: openepm/v1
kind: ElevationRulesPolicy
metadata: {name: tools}
spec:
  platform: LINUX
  rules:
    - name: who
      elevationType: USER_CONFIRMED
      childProcesses: DENY
      detection: {fileName: id, filePath: /usr/bin}
    - name: env
      elevationType: %s
      childProcesses: REQUIRE_RULE
      detection: {fileName: env, filePath: /usr/bin}
  assignments: {include: [{group: developers}]}
"""
CONFIRMED = ("--answer-confirm",)
pytestmark = pytest.mark.xdist_group("main-job")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with served(Installation(tmp_path_factory.mktemp("house"), forked=False)) as built:
        built.apply(SETTINGS % "true" + RULES % "USER_CONFIRMED")
        yield built


def with_device(house: Installation, name: str, *users: str) -> str:
    house.enrol(name, *users)
    house.run_agent(name)
    house.wait_for("the policy", lambda: house.is_ready(name))
    return name


def device(house: Installation, name: str) -> Any:
    devices = house.must("epm", "get", "devices", "--output", "json").json()
    return next(found for found in devices if found["name"] == name)


def events(house: Installation, name: str) -> list[Any]:
    elevations: list[Any] = house.must("epm", "report", "elevations", "--device", name, "--output", "json").json()
    return elevations


def revision(house: Installation, policy: str) -> int:
    shown = house.must("epm", "get", "rules-policy", policy, "--output", "json").json()
    return int(shown["status"]["revision"])


def test_a_policy_travels_from_its_author_to_the_report(house: Installation) -> None:
    name = with_device(house, "lx-a", "alice")
    house.wait_for("ACTIVE", lambda: device(house, name)["epmState"] == "ACTIVE")

    answer = house.elevate(name, "alice", "/usr/bin/id", "-u", options=CONFIRMED)

    assert (answer["decision"]["outcome"], answer["decision"]["rule"]) == ("PROMPT", "who")
    assert answer["result"] == "ELEVATED"
    (event,) = house.wait_for("the event", lambda: events(house, name))
    told = event["decided"]
    assert (told["user"], told["policy"], told["rule"], told["result"]) == ("alice", "tools", "who", "ELEVATED")
    assert (told["managed"], told["arguments"]) == (True, ["-u"])
    assert told["policyRevision"] == revision(house, "tools")


def test_who_is_not_meant_by_a_rule_gets_the_default_response(house: Installation) -> None:
    name = with_device(house, "lx-b", "alice", "bob")

    answer = house.elevate(name, "bob", "/usr/bin/id", options=CONFIRMED)

    assert (answer["decision"]["outcome"], answer["decision"]["source"]) == ("DENY", "DEFAULT_RESPONSE")


def test_a_change_reaches_a_connected_device_within_seconds(house: Installation) -> None:
    name = with_device(house, "lx-c", "alice")
    assert house.elevate(name, "alice", "/usr/bin/env", options=CONFIRMED)["decision"]["outcome"] == "PROMPT"

    house.apply(SETTINGS % "true" + RULES % "DENY")

    def denied() -> bool:
        return bool(house.elevate(name, "alice", "/usr/bin/env")["decision"]["outcome"] == "DENY")

    house.wait_for("the newer policy", denied)


def test_a_device_decides_and_remembers_while_the_server_is_away(house: Installation) -> None:
    name = with_device(house, "lx-d", "alice")
    assert house.end("server") == 0

    answer = house.elevate(name, "alice", "/usr/bin/id", options=CONFIRMED)
    house.programs.pop(name).kill()
    house.run_agent(name)
    again = house.wait_for("the agent", lambda: attempt(house, name))

    assert answer["result"] == again["result"] == "ELEVATED"
    house.serve()
    house.wait_for("both events", lambda: len(events(house, name)) == 2)


def attempt(house: Installation, name: str) -> Any:
    words = (*CONFIRMED, "--as", "alice", "--state-dir", house.state(name), "--output", "json", "/usr/bin/id")
    done = house.run("epm-agent", "elevate", *words)
    return done.json() if done.code == 0 else None


def test_a_device_is_disabled_by_policy_and_enabled_again(house: Installation) -> None:
    name = with_device(house, "lx-e", "alice")

    house.apply(SETTINGS % "false")
    house.wait_for("DISABLED", lambda: device(house, name)["epmState"] == "DISABLED")
    assert house.elevate(name, "alice", "/usr/bin/id")["decision"]["source"] == "NOT_ACTIVE"

    house.apply(SETTINGS % "true")
    house.wait_for("ACTIVE", lambda: device(house, name)["epmState"] == "ACTIVE")


def test_a_virtual_agent_holds_what_the_server_says(house: Installation) -> None:
    created = house.must("epm", "enrolment-token", "create", "--quota", "1", "--output", "json").json()
    fleet = ("--state-dir", house.folder / "fleet")
    enrolling = ("--server", house.server, "--ca", house.ca, "--token-file", "-", "--count", "1")
    house.must("epm-sim", "enrol", *enrolling, *fleet, text=created["secret"])
    house.start("sim", "epm-sim", "run", "--faithful", "1", "--processes", "1", "--duration", "1h", *fleet)
    asked = ("check", "--token-file", house.data_dir / "owner-token", *fleet)
    house.wait_for("the same on both sides", lambda: house.run("epm-sim", *asked).code == 0)
    assert house.end("sim") == 0


def test_a_second_server_on_the_same_folder_is_refused(house: Installation) -> None:
    done = house.run("epm", "serve", "--data-dir", house.data_dir, "--public-port", "0", "--mesh-port", "0")
    assert done.code == 2
    assert str(house.data_dir) in done.errors
