"""What a server says would happen is what an agent does: the same attempts, byte for byte the same decisions."""

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.builders.installation import Installation, installation

DOCUMENTS = """
apiVersion: openepm/v1
kind: ElevationSettingsPolicy
metadata: {name: workstations}
spec:
  defaultResponse: USER_CONFIRMED
  validations: [AUTHENTICATION, BUSINESS_JUSTIFICATION]
  assignments: {include: [{group: all-devices, filter: 'os = "linux"'}]}
---
apiVersion: openepm/v1
kind: Group
metadata: {name: developers}
spec: {type: USER, members: [alice]}
---
apiVersion: openepm/v1
kind: Group
metadata: {name: engineers}
spec: {type: USER, groups: [developers]}
---
apiVersion: openepm/v1
kind: ElevationRulesPolicy
metadata: {name: tools}
spec:
  platform: LINUX
  rules:
    - {name: who, childProcesses: REQUIRE_RULE, detection: {fileName: id, filePath: /usr/bin}, arguments: ["-u"]}
    - {name: any-who, childProcesses: ALLOW, detection: {fileName: "i?", filePath: /usr/bin}}
  assignments: {include: [{group: engineers}]}
---
apiVersion: openepm/v1
kind: ElevationRulesPolicy
metadata: {name: everybody}
spec:
  platform: LINUX
  rules:
    - {name: never, elevationType: DENY, detection: {fileName: env, filePath: /usr/bin}}
    - {name: other, childProcesses: DENY, detection: {fileName: id, filePath: /usr/bin, productName: "none such"}}
    - name: asked
      elevationType: SUPPORT_APPROVED
      childProcesses: DENY
      detection: {fileName: id, filePath: /usr/bin}
  assignments: {include: [{group: all-devices}]}
"""
DRAFT = """
apiVersion: openepm/v1
kind: ElevationRulesPolicy
metadata: {name: stricter}
spec:
  platform: LINUX
  rules: [{name: stop, elevationType: DENY, detection: {fileName: id, filePath: /usr/bin}}]
  assignments: {include: [{group: developers}]}
"""
GROUPS = {"alice": ["developers", "engineers"]}
"""Of those who are bound to the device; to it, everybody else is one of all users."""


class Try(NamedTuple):
    """An attempt on the device, with what the agent is told of it."""

    user: str
    file: str
    arguments: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


ATTEMPTS = [
    Try("alice", "/usr/bin/id", ("-u",)),
    Try("alice", "/usr/bin/id", ("-g",)),
    Try("alice", "/usr/bin/env"),
    Try("alice", "/usr/bin/true"),
    Try("bob", "/usr/bin/id"),
    Try("carol", "/usr/bin/id", ("-u",)),
    Try("bob", "/usr/bin/true", options=("--administrator",)),
    Try("alice", "/usr/bin/true", options=("--trigger", "LAUNCH")),
    Try("alice", "/usr/bin/true", options=("--trigger", "CHILD", "--parent", "tools/any-who")),
    Try("alice", "/usr/bin/true", options=("--trigger", "CHILD", "--parent", "tools/who")),
    Try("alice", "/usr/bin/true", options=("--trigger", "CHILD", "--parent", "tools/none")),
]
pytestmark = pytest.mark.xdist_group("simulation")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with installation(tmp_path_factory.mktemp("house")) as built:
        built.apply(DOCUMENTS)
        built.enrol("lx", "alice", "bob")
        built.run_agent("lx")
        built.wait_for("the agent", lambda: built.is_ready("lx"))
        built.wait_for("the policies", lambda: built.rolled_out("tools") and built.rolled_out("everybody"))
        yield built


def elevate(house: Installation, tried: Try) -> Any:
    """Have the agent decide."""
    options = (*tried.options, "--answer-confirm")
    return house.elevate("lx", tried.user, tried.file, *tried.arguments, options=options)


def replayed(house: Installation, tried: Try, answer: Any) -> Path:
    """Write down an attempt that an agent decided, by the evidence that it saw."""
    said = dict(pairwise(tried.options))
    parent = said.get("--parent", "").partition("/")
    facts = {name: answer["file"][name] for name in answer["file"] if name not in {"kind", "interpreter", "ownerUid"}}
    attempt = {
        "device": {"name": "lx", "attributes": {"os": "linux"}},
        "user": {
            "name": tried.user,
            "groups": GROUPS.get(tried.user, []),
            "administrator": "--administrator" in tried.options,
        },
        "trigger": said.get("--trigger", "REQUEST"),
        "platform": answer["platform"],
        "file": facts,
        "arguments": list(tried.arguments),
        "parent": {"policy": parent[0], "rule": parent[2]} if parent[0] else None,
        "now": "2026-11-23T12:00:00Z",
    }
    path = house.folder / "attempt.json"
    path.write_text(json.dumps(attempt), encoding="utf-8")
    return path


@pytest.mark.parametrize("tried", ATTEMPTS)
def test_the_decision_of_an_agent_is_simulated_byte_for_byte(house: Installation, tried: Try) -> None:
    answer = elevate(house, tried)
    decided = json.dumps(answer["decision"], indent=2, ensure_ascii=False) + "\n"
    attempt = replayed(house, tried, answer)

    asked = house.must("epm", "simulate", "--server", "--attempt", attempt, "--explain")
    offline = house.must("epm", "simulate", "-f", house.folder / "documents.yaml", "--attempt", attempt, "--explain")

    assert asked.output == decided
    assert offline.output == decided


def test_the_settings_of_a_decision_have_origins_and_the_device_has_applied_them(house: Installation) -> None:
    tried = Try("alice", "/usr/bin/id")
    attempt = replayed(house, tried, elevate(house, tried))
    found = house.must("epm", "simulate", "--server", "--attempt", attempt, "--settings").json()
    assert found["applied"] is True
    assert found["settings"]["validations"] == {
        "value": "AUTHENTICATION, BUSINESS_JUSTIFICATION",
        "policies": ["workstations"],
        "conflicting": False,
    }


def test_a_draft_is_tried_without_being_applied(house: Installation) -> None:
    attempt = replayed(house, ATTEMPTS[0], elevate(house, ATTEMPTS[0]))
    draft = house.folder / "draft.yaml"
    draft.write_text(DRAFT, encoding="utf-8")

    drafted = house.must("epm", "simulate", "--server", "-f", draft, "--attempt", attempt, "--settings").json()
    still = house.must("epm", "simulate", "--server", "--attempt", attempt).json()

    assert (drafted["policy"], drafted["rule"], drafted["applied"]) == ("stricter", "stop", False)
    assert (still["policy"], still["rule"]) == ("tools", "who")
    told = house.must("epm", "effective", "lx", "--user", "alice", "-f", draft).output
    assert 'alice is in the group "developers", which "stricter" includes' in told
    assert 'which is in the group "engineers" and which "tools" includes' in told
    assert "stricter" not in house.must("epm", "effective", "lx", "--user", "alice", "--all").output
