"""An administrator takes a report away as a file, and another program counts the same in it."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from tests.builders.installation import Done, Installation, installation

WORKSTATIONS = """
apiVersion: openepm/v1
kind: ElevationSettingsPolicy
metadata: {name: workstations}
spec: {defaultResponse: DENY, assignments: {include: [{group: all-devices}]}}
"""
pytestmark = pytest.mark.xdist_group("report-files")
USERS = ["anna", "anna", "berta"]


@pytest.fixture
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with installation(tmp_path_factory.mktemp("house")) as built:
        built.apply(WORKSTATIONS)
        built.enrol("one")
        built.run_agent("one")
        built.wait_for("the policy", (built.state("one") / "agent.sock").exists)
        yield built


def report(house: Installation, *arguments: str | Path) -> Done:
    return house.must("epm", "report", *arguments)


def test_every_form_of_a_report_counts_the_same(house: Installation) -> None:
    for user in USERS:
        house.elevate("one", user, "/usr/bin/id")
    house.wait_for("the attempts", lambda: len(report(house, "elevations", "--output", "json").json()) == len(USERS))
    for form in ("csv", "jsonl", "parquet"):
        report(house, "export", "elevations", house.folder / f"out.{form}", "--format", form)

    lines = (house.folder / "out.jsonl").read_text(encoding="utf-8").splitlines()
    listed = report(house, "elevations", "--order-by", "occurred", "--output", "json").json()
    assert [json.loads(line) for line in lines] == listed
    assert [one["decided"]["user"] for one in listed] == USERS

    text = (house.folder / "out.csv").read_bytes().decode()
    assert [row["decided.user"] for row in csv.DictReader(io.StringIO(text, newline=""))] == USERS

    counted = duckdb.read_parquet(str(house.folder / "out.parquet")).aggregate(
        '"decided.user", count(*)', '"decided.user"'
    )
    assert sorted(counted.fetchall()) == [("anna", 2), ("berta", 1)]

    users = list(csv.reader(io.StringIO(report(house, "users", "--output", "csv").output, newline="")))
    assert users == [["user", "managed", "unmanaged", "total"], ["anna", "2", "0", "2"], ["berta", "1", "0", "1"]]
