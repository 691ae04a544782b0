"""From an attempt that was denied to the rule that decides the next one; and who would be affected, before it is applied."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.builders.installation import Installation, installation

DOCUMENTS = """
apiVersion: openepm/v1
kind: ElevationSettingsPolicy
metadata: {name: workstations}
spec:
  defaultResponse: DENY
  assignments: {include: [{group: all-devices}]}
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
    - {name: id, elevationType: DENY, detection: {fileName: other, filePath: /usr/bin}}
  assignments: {include: [{group: developers}]}
"""
WIDER = """
apiVersion: openepm/v1
kind: ElevationRulesPolicy
metadata: {name: tools}
spec:
  platform: LINUX
  rules:
    - {name: id, elevationType: DENY, detection: {fileName: other, filePath: /usr/bin}}
  assignments: {include: [{group: all-users}]}
"""
pytestmark = pytest.mark.xdist_group("proposal")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with installation(tmp_path_factory.mktemp("house")) as built:
        built.apply(DOCUMENTS)
        built.enrol("lx", "alice", "bob")
        built.run_agent("lx")
        built.wait_for("the agent", lambda: built.is_ready("lx"))
        arrived(built)
        yield built


def arrived(house: Installation) -> None:
    house.wait_for("the policy", lambda: house.rolled_out("tools"))


def reported(house: Installation, path: str) -> str:
    """Return the attempt on a file once it stands in the table of attempts."""

    def find() -> str:
        lines = house.must("epm", "report", "elevations").output.splitlines()[1:]
        return next((line.split()[-1] for line in lines if path in line), "")

    return house.wait_for("the event", find)


def decided(house: Installation, *arguments: str) -> Any:
    answer = house.elevate("lx", "alice", "/usr/bin/env", *arguments, options=("--answer-confirm",))
    return answer["decision"]


def test_a_denied_attempt_becomes_the_rule_that_decides_the_next(house: Installation) -> None:
    assert (decided(house, "-u", "X Y")["outcome"], decided(house)["source"]) == ("DENY", "DEFAULT_RESPONSE")
    attempt = reported(house, "/usr/bin/env")

    command = ("epm", "rule", "propose", "--event", attempt, "--policy", "tools", "--name", "environment")
    shown = house.must(*command, "--same-path")
    assert yaml.safe_load(shown.output)["detection"]["filePath"] == "/usr/bin"
    assert decided(house)["outcome"] == "DENY"
    saved = house.must(*command, "--same-path", "--save", "--yes", "--reason", "ticket 7")
    assert saved.errors.endswith("updated  ElevationRulesPolicy tools\n")

    arrived(house)
    allowed = decided(house)
    assert (allowed["outcome"], allowed["source"]) == ("PROMPT", "RULE")
    assert (allowed["policy"], allowed["rule"]) == ("tools", "environment")
    told = house.must("epm", "rule", "propose", "--event", attempt, "--output", "json").json()
    assert {"kind": "ElevationRulesPolicy", "name": "tools", "rule": "environment"} in told["existing"]
    assert house.run(*command, "--save", "--yes").code == 2


def test_a_rule_that_denies_goes_into_a_policy_of_its_own_for_nobody(house: Installation) -> None:
    house.elevate("lx", "alice", "/usr/bin/true")
    attempt = reported(house, "/usr/bin/true")
    made = house.must("epm", "rule", "propose", "--event", attempt, "--type", "DENY", "--save", "--yes")
    document = yaml.safe_load(made.output)
    assert made.errors.endswith("created  ElevationRulesPolicy true, assigned to nobody\n")
    held = yaml.safe_load(house.must("epm", "get", "rules-policy", "true", "--output", "yaml").output)
    assert held["spec"]["rules"] == document["spec"]["rules"]
    assert not held["spec"].get("assignments", {}).get("include")


def test_who_gains_and_loses_is_told_before_anything_is_applied(house: Installation) -> None:
    wider = house.folder / "wider.yaml"
    wider.write_text(WIDER, encoding="utf-8")
    found = house.must("epm", "preview", "-f", wider, "--output", "json").json()
    entries = {(one["device"], one["user"], one["policy"]["name"], one["change"]) for one in found["affected"]}
    assert {("lx", "", "tools", "GAINED"), ("lx", "bob", "tools", "GAINED")} <= entries
    assert found["counts"][0]["usersGained"] == 1
    lost = house.must("epm", "preview", "--delete", "settings-policy", "workstations", "--list").output
    assert [line.split()[:4] for line in lost.splitlines() if line.startswith("lx")] == [
        ["lx", "-", "LOST", "workstations"]
    ]


def test_proposed_documents_are_taken_by_apply(house: Installation, tmp_path: Path) -> None:
    house.elevate("lx", "alice", "/usr/bin/false")
    attempt = reported(house, "/usr/bin/false")
    proposed = house.must("epm", "rule", "propose", "--event", attempt, "--new-policy", "from-git")
    path = tmp_path / "proposed.yaml"
    path.write_text(proposed.output, encoding="utf-8")
    assert "from-git" in house.must("epm", "apply", "-f", path).output
