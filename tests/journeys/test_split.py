"""Four services in four processes, each on a PostgreSQL database of its own, as `deploy/compose.yaml` runs them."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.builders.installation import Done, Installation, free_ports
from tests.journeys.test_main_job import CONFIRMED, RULES, SETTINGS
from tests.postgres import Cluster

pytestmark = pytest.mark.xdist_group("split")
SERVICES = ("rbac", "device", "policy", "reporting")
KEYS = {
    "rbac": (),
    "device": ("ca.key", "policy-signing.pub"),
    "policy": ("policy-signing.key", "policy-signing.pub"),
    "reporting": (),
}


class Split:
    """One installation in four processes; each has a public address of its own."""

    def __init__(self, folder: Path, databases: dict[str, str]) -> None:
        self.house = Installation(folder, forked=False)  # a forked service would have the others' modules
        ports = free_ports(2 * len(SERVICES))
        self.public = {name: f"127.0.0.1:{port}" for name, port in zip(SERVICES, ports, strict=False)}
        self.mesh = {name: f"127.0.0.1:{port}" for name, port in zip(SERVICES, ports[4:], strict=True)}
        self._make_certificates()
        for name, url in databases.items():
            (folder / name / "database-url").write_text(url, encoding="utf-8")

    def start(self, name: str) -> None:
        """Start a service, whether those that it needs are there or not."""
        folder = self.house.folder / name
        arguments = ["--data-dir", str(folder), "--database-url-file", str(folder / "database-url")]
        for door, addresses in (("public", self.public), ("mesh", self.mesh)):
            arguments += [f"--{door}-port", addresses[name].rpartition(":")[2]]
        for other in ("rbac", "device", "reporting"):
            arguments += [f"--{other}-address", self.mesh[other]]
        for other in ("device", "policy", "reporting"):
            arguments += [f"--advertised-{other}", self.mesh[other]]
        self.house.start(name, "epm", "serve", name, *arguments)

    def epm(self, service: str, *arguments: str | Path) -> Done:
        """Run a command that has to succeed against the public address of one service."""
        done = self.ask(service, *arguments)
        assert done.code == 0, done.errors
        return done

    def ask(self, service: str, *arguments: str | Path) -> Done:
        """Run a command against the public address of one service."""
        folder = self.house.folder
        return self.house.run(
            "epm",
            *arguments,
            EPM_SERVER=self.public[service],
            EPM_CA=str(folder / "ca" / "ca.crt"),
            EPM_TOKEN_FILE=str(folder / "rbac" / "owner-token"),
        )

    def _make_certificates(self) -> None:
        authority = self.house.folder / "ca"
        self.house.must("epm", "ca", "init", "--dir", authority)
        for name, keys in KEYS.items():
            data = self.house.folder / name
            self.house.must("epm", "ca", "issue-service", name, "--dir", authority, "--out", data / "certs")
            for key in ("ca.crt", *keys):
                place = data / ("ca" if key.startswith("ca.") else "keys")
                place.mkdir(exist_ok=True)
                shutil.copy2(authority / key, place)


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory, postgres: Cluster) -> Iterator[Split]:
    with ExitStack() as held:
        databases = {name: held.enter_context(postgres.fresh_database()) for name in SERVICES}
        built = Split(tmp_path_factory.mktemp("split"), databases)
        held.callback(built.house.close)
        for name in reversed(SERVICES):
            built.start(name)
        yield built


def test_four_services_do_together_what_one_process_does(split: Split) -> None:
    house = split.house
    house.wait_for("the services", lambda: all(house.said(name) for name in SERVICES))
    documents = house.folder / "documents.yaml"
    documents.write_text(RULES.split("---")[1], encoding="utf-8")
    split.epm("device", "apply", "-f", documents)
    documents.write_text(SETTINGS % "true" + "---" + (RULES % "DENY").split("---")[2], encoding="utf-8")
    # The group of it comes to the policy service by itself.
    house.wait_for("the policies", lambda: split.ask("policy", "apply", "-f", documents).code == 0)

    created = split.epm("device", "enrolment-token", "create", "--quota", "1", "--user", "alice", "--output", "json")
    agent = ["--server", split.public["device"], "--ca", str(house.folder / "ca" / "ca.crt"), "--token-file", "-"]
    agent += ["--name", "lx", "--unsafe-platform", "LINUX", "--state-dir", str(house.state("lx"))]
    house.must("epm-agent", "enroll", *agent, text=created.json()["secret"])
    house.run_agent("lx")
    house.wait_for("the policy", lambda: house.is_ready("lx"))
    answer = house.elevate("lx", "alice", "/usr/bin/id", options=CONFIRMED)

    assert answer["result"] == "ELEVATED"
    reported = house.wait_for(
        "the event", lambda: split.epm("reporting", "report", "elevations", "--output", "json").json()
    )
    assert [event["attemptId"] for event in reported] == [answer["attemptId"]]
    house.wait_for("ACTIVE", lambda: [found["epmState"] for found in devices_of(split)] == ["ACTIVE"])


def devices_of(split: Split) -> list[Any]:
    devices: list[Any] = split.epm("device", "get", "devices", "--output", "json").json()
    return devices


def test_a_service_answers_only_for_itself(split: Split) -> None:
    house = split.house
    house.wait_for("the services", lambda: all(house.said(name) for name in SERVICES))
    done = house.run(
        "epm",
        "get",
        "devices",
        EPM_SERVER=split.public["policy"],
        EPM_CA=str(house.folder / "ca" / "ca.crt"),
        EPM_TOKEN_FILE=str(house.folder / "rbac" / "owner-token"),
    )
    assert done.code == 1
    assert "does not know this call" in done.errors
