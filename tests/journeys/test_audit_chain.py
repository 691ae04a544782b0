"""Somebody with the disk edits the audit log of a stopped server; it starts again, and an auditor is told where."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.builders.installation import Installation, installation

pytestmark = pytest.mark.xdist_group("audit")
ROLE = """
apiVersion: openepm/v1
kind: Role
metadata: {name: %s}
spec: {rights: [devices.read]}
"""


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Installation]:
    with installation(tmp_path) as built:
        yield built


def edit(house: Installation, *changes: tuple[str, int]) -> None:
    """Change the log of the rbac service; each statement may name one number, as `?1`."""
    with closing(sqlite3.connect(house.data_dir / "rbac.db")) as connection:
        for statement, number in changes:
            connection.execute(statement, (number,))
        connection.commit()


def findings(house: Installation) -> list[Any]:
    """Verify all logs; return what is wrong with that of rbac, after the others proved whole."""
    done = house.run("epm", "audit", "verify", "--output", "json")
    found = {each["service"]: each["findings"] for each in done.json()["services"]}
    broken: list[Any] = found.pop("rbac")
    assert found == {"device": [], "policy": [], "reporting": []}
    assert done.code == (1 if broken else 0)
    return [(each["fault"], each["first"], each["last"]) for each in broken]


def test_an_edit_of_a_stopped_servers_file_is_named(house: Installation) -> None:
    for name in ("one", "two", "three"):
        house.apply(ROLE % name)
    records = house.must("epm", "audit", "list", "--service", "rbac", "--limit", "0", "--output", "json").json()
    places = {record["target"]: record["sequence"] for record in records if record["action"] == "role_created"}
    assert findings(house) == []
    assert house.end("server") == 0
    edit(
        house,
        ("UPDATE rbac_audit SET actor = 'user:somebody-else' WHERE sequence = ?1", places["one"]),
        ("DELETE FROM rbac_audit WHERE sequence = ?1", places["two"]),
    )
    house.serve()
    assert findings(house) == [
        ("ALTERED", places["one"], places["one"]),
        ("MISSING", places["two"], places["two"]),
    ]


def test_a_log_that_was_cut_off_is_told_of_at_the_start_and_by_whoever_verifies(house: Installation) -> None:
    house.apply(ROLE % "one")
    kept = house.must("epm", "audit", "list", "--service", "rbac", "--output", "json").json()[0]["sequence"]
    house.apply(ROLE % "secret")
    assert house.end("server") == 0
    last = newest(house)
    edit(
        house,
        ("DELETE FROM rbac_audit WHERE sequence > ?1", kept),
        ("DELETE FROM rbac_audit_checkpoint WHERE sequence > ?1", kept),
        ("UPDATE rbac_audit_head SET sequence = ?1", kept),
        ("UPDATE rbac_audit_head SET hash = (SELECT hash FROM rbac_audit WHERE sequence = ?1)", kept),
    )
    house.serve()
    log = house.programs["server"].log
    house.wait_for("the word of it", lambda: "audit_chain_broken" in log.read_text(encoding="utf-8"))
    assert findings(house)[0][1:] == (kept + 1, last)


def newest(house: Installation) -> int:
    with closing(sqlite3.connect(house.data_dir / "rbac.db")) as connection:
        found: int = connection.execute("SELECT max(sequence) FROM rbac_audit").fetchone()[0]
    return found


def test_what_a_server_committed_before_it_was_killed_is_whole_after_it(house: Installation) -> None:
    house.apply(ROLE % "one")
    house.programs.pop("server").kill()
    house.serve()
    assert findings(house) == []
    assert "audit_chain_broken" not in house.programs["server"].log.read_text(encoding="utf-8")
