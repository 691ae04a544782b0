"""Fifty agents, everything that can go wrong with them, and at the end every one holds what the server says."""

import json
import signal
from collections.abc import Iterator
from itertools import count, cycle
from pathlib import Path
from typing import Any

import pytest

from fleet.model import FaultKind
from tests.builders.installation import Installation, installation

AGENTS, CHANGES = 50, 10
POLICY = """
apiVersion: openepm/v1
kind: ElevationSettingsPolicy
metadata: {name: all}
spec: {defaultResponse: RESPONSE, assignments: {include: [{group: GROUP}]}}
"""
NOBODY = """
apiVersion: openepm/v1
kind: Group
metadata: {name: nobody}
spec: {type: DEVICE, members: []}
---"""
RESPONSES = ("DENY", "USER_CONFIRMED", "SUPPORT_APPROVED")
FAULTS = "".join(
    f"  - {{fault: {kind.value}, rate: 150{extra}}}\n"
    for kind, extra in [
        *((kind, "") for kind in FaultKind if kind not in {FaultKind.CLOCK, FaultKind.STOP_READING}),
        (FaultKind.STOP_READING, ", for: 2s"),
        (FaultKind.CLOCK, ", by: -365d"),
        (FaultKind.CLOCK, ", by: 365d, for: 2s"),
    ]
)
SCRIPT = f"until: 10m\nfaults:\n{FAULTS}  - {{fault: reconnect, at: [2s, 4s]}}\n"
pytestmark = [pytest.mark.xdist_group("fleet"), pytest.mark.timeout(300)]


class Fleet:
    """Agents of one installation, and the simulator that runs them."""

    def __init__(self, house: Installation) -> None:
        self.house = house
        self.folder = house.folder / "fleet"
        self._responses = cycle(RESPONSES)
        self._changes = 0

    def change(self, group: str = "all-devices") -> None:
        """Have another document for everybody."""
        self._changes += 1
        policy = POLICY.replace("RESPONSE", next(self._responses)).replace("GROUP", group)
        self.house.apply((NOBODY if group == "nobody" else "") + policy)

    def enrol(self, count: int) -> None:
        """Enrol with a token whose fingerprint says which CA to believe."""
        options = ["--quota", str(count), "--output", "json"]
        token = self.house.must("epm", "enrolment-token", "create", *options).json()["secret"]
        options = ["--server", self.house.server, "--count", str(count), "--token-file", "-"]
        self.house.must("epm-sim", "enrol", *options, "--state-dir", self.folder, text=token)

    def start(self, script: str) -> None:
        """Run all agents until they are ended."""
        path = self.house.folder / "script.yaml"
        path.write_text(script, encoding="utf-8")
        options = ["--faithful", str(AGENTS), "--duration", "1h", "--longest-wait", "1s", "--check-in"]
        options += ["--output", "json"]
        self.house.start("sim", "epm-sim", "run", "--state-dir", self.folder, "--script", path, *options)

    def log(self) -> str:
        """Read what the simulator said so far; its first line tells the seed."""
        return self.house.programs["sim"].log.read_text(encoding="utf-8")

    def spread(self) -> None:
        """Wait until the newest document is on its way: however many agents are away, one of them was offered it."""
        self.house.wait_for("an agent that is offered the document", lambda: self.offered() > 0)

    def offered(self) -> int:
        """Count the agents that were offered the newest document, whatever they answered."""
        done = self.house.run("epm", "rollout", "status", "all", "--output", "json")
        return sum(done.json()[count] for count in ("offered", "applied", "rejected")) if done.output else 0

    def missing(self) -> set[str]:
        """Name the faults that have not come so far."""
        log = self.log()
        return {kind.value for kind in FaultKind if f"the first {kind.value}\n" not in log}

    def calm(self) -> None:
        """End the faults."""
        self.house.programs["sim"].process.send_signal(signal.SIGUSR1)
        self.house.wait_for("calm", lambda: "the faults are over" in self.log())

    def differences(self) -> Any:
        """Compare what agents hold with what the server says."""
        token = self.house.data_dir / "owner-token"
        done = self.house.run("epm-sim", "check", "--state-dir", self.folder, "--token-file", token, "--output", "json")
        assert done.code in {0, 1}, done.errors
        return done.json()["differences"]

    def agree(self, state: str, seed: str) -> None:
        """Wait until every agent is in the state, and the server says of each what the agent says."""
        try:
            self.house.wait_for(f"{state} ({seed})", lambda: not self.differences() and not self.others(state))
        except AssertionError as error:
            raise AssertionError(f"{self.differences()}\n{self.others(state)}") from error

    def others(self, state: str) -> dict[str, str]:
        """Name the devices in another state of EPM."""
        devices = self.house.must("epm", "get", "devices", "--output", "json").json()
        return {device["name"]: device["epmState"] for device in devices if device["epmState"] != state}

    def end(self) -> tuple[int, Any]:
        """End the agents, and give the exit status and the summary."""
        output = self.house.programs["sim"].output
        code = self.house.end("sim")
        return code, json.loads(output.read_text(encoding="utf-8"))


@pytest.fixture
def fleet(tmp_path: Path, empty_database_url: str) -> Iterator[Fleet]:
    settings = {"EPM_DEPROVISION_AFTER": "PT2S"}
    if empty_database_url.startswith("postgresql"):
        settings["EPM_DATABASE_URL"] = empty_database_url
    folder = tmp_path / "house"
    folder.mkdir()
    with installation(folder, **settings) as house:
        yield Fleet(house)


def test_whatever_goes_wrong_every_agent_ends_with_what_the_server_says(fleet: Fleet) -> None:
    fleet.change()
    fleet.enrol(AGENTS)
    fleet.start(SCRIPT)
    fleet.house.wait_for("the start", lambda: "seed" in fleet.log())
    for number in count():
        fleet.change()
        fleet.spread()
        if number == CHANGES // 3:
            fleet.house.programs.pop("server").kill()
            fleet.house.serve()
        if number >= CHANGES and not fleet.missing():  # some faults find their moment at an offer alone
            break
    fleet.calm()
    fleet.change()
    seed = fleet.log().splitlines()[0]
    fleet.agree("ACTIVE", seed)
    fleet.change(group="nobody")
    fleet.agree("NOT_PROVISIONED", seed)
    code, summary = fleet.end()

    assert (code, summary["violations"]) == (0, []), seed
    assert [agent["name"] for agent in summary["agents"] if not agent["connected"]] == [], seed
    assert len({agent["deviceId"] for agent in summary["agents"]}) == AGENTS
    assert summary["totals"]["faults"].keys() == {kind.value for kind in FaultKind}, seed
    assert all(len(agent["sha256"]) == 64 and agent["grade"] == "faithful" for agent in summary["agents"]), seed
    assert fleet.house.wait_for(f"a suspicion ({seed})", lambda: suspected(fleet)) <= cloned(summary), seed


def suspected(fleet: Fleet) -> set[str]:
    """Name the devices that the server takes for two."""
    devices = fleet.house.must("epm", "get", "devices", "--output", "json").json()
    return {device["name"] for device in devices if device["suspectedClone"]}


def cloned(summary: Any) -> set[str]:
    """Name the agents that were cloned."""
    return {agent["name"] for agent in summary["agents"] if "clone" in agent["faults"]}
