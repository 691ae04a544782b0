"""An administrator follows elevations as they happen, while the server is killed and started again: none is missed."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.builders.installation import Installation, installation

WORKSTATIONS = """
apiVersion: openepm/v1
kind: ElevationSettingsPolicy
metadata: {name: workstations}
spec: {defaultResponse: DENY, assignments: {include: [{group: all-devices}]}}
"""
pytestmark = pytest.mark.xdist_group("live")


@pytest.fixture
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with installation(tmp_path_factory.mktemp("house")) as built:
        built.apply(WORKSTATIONS)
        for name in ("one", "two"):
            built.enrol(name)
            built.run_agent(name)
            built.wait_for("the policy", (built.state(name) / "agent.sock").exists)
        yield built


def seen(house: Installation, name: str) -> list[str]:
    """Return the users of the attempts that a command has printed so far, in its order."""
    lines = house.programs[name].output.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line)["decided"]["user"] for line in lines if line.endswith("\n")]


def _consumers(house: Installation) -> int:
    """Return how many consumers the server remembers."""
    with closing(sqlite3.connect(house.data_dir / "reporting.db")) as connection:
        return int(connection.execute("SELECT count(*) FROM reporting_consumer").fetchone()[0])


def test_everything_is_followed_once_over_a_server_that_is_killed(house: Installation) -> None:
    note, alone = house.folder / "cursor", house.folder / "cursor-alone"
    house.start("all", "epm", "report", "tail", "--cursor-file", note, "--output", "json")
    house.start("siem", "epm", "report", "tail", "--consumer", "siem", "--output", "json")
    house.start("one-alone", "epm", "report", "tail", "--device", "one", "--cursor-file", alone, "--output", "json")
    house.wait_for("the beginning", lambda: note.exists() and alone.exists())
    house.wait_for("the consumer", lambda: _consumers(house) == 1)
    house.elevate("one", "anna", "/usr/bin/id")
    house.elevate("two", "berta", "/usr/bin/id")
    house.wait_for("two attempts", lambda: len(seen(house, "all")) == 2)

    house.programs.pop("server").kill()
    for number in range(5):
        house.elevate("one", f"carla{number}", "/usr/bin/id")
        house.elevate("two", f"dora{number}", "/usr/bin/id")
    house.serve()
    house.wait_for("all attempts", lambda: len(seen(house, "all")) == 12)
    everybody = {"anna", "berta", *(f"{name}{number}" for name in ("carla", "dora") for number in range(5))}
    assert set(seen(house, "all")) == everybody
    house.wait_for("those of one device", lambda: len(seen(house, "one-alone")) == 6)
    assert seen(house, "one-alone") == ["anna", *(f"carla{number}" for number in range(5))]

    house.wait_for("what is handed over", lambda: set(seen(house, "siem")) == everybody)

    house.wait_for("the cursor", lambda: note.read_text(encoding="utf-8").strip())
    house.programs.pop("all").end()
    house.elevate("two", "emma", "/usr/bin/id")
    house.start("again", "epm", "report", "tail", "--cursor-file", note, "--output", "json")
    house.wait_for("what was missed", lambda: seen(house, "again"))
    assert seen(house, "again") == ["emma"]
