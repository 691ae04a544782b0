"""Groups in groups, from documents to devices: who is in them follows filters, members and nesting within seconds."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.builders.installation import Installation, installation

POLICY = """
apiVersion: openepm/v1
kind: ElevationSettingsPolicy
metadata: {name: workstations}
spec: {assignments: {include: [{group: fleet}], exclude: [{group: guests}]}}
---
apiVersion: openepm/v1
kind: Group
metadata: {name: lab}
spec: {type: DEVICE, members: [other]}
---
apiVersion: openepm/v1
kind: Group
metadata: {name: visitors}
spec: {type: USER, members: []}
---
apiVersion: openepm/v1
kind: Group
metadata: {name: guests}
spec: {type: DEVICE, members: []}
"""
FOUND = """
apiVersion: openepm/v1
kind: Group
metadata: {name: found}
spec: {type: DEVICE, filter: 'FILTER'}
---
apiVersion: openepm/v1
kind: Group
metadata: {name: fleet}
spec: {type: DEVICE, groups: [GROUPS]}
"""
pytestmark = pytest.mark.xdist_group("directory")


def groups(where: str, *nested: str) -> str:
    return FOUND.replace("FILTER", where).replace("GROUPS", ", ".join(nested))


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with installation(tmp_path_factory.mktemp("house")) as built:
        built.apply(POLICY + "---" + groups("os = linux", "found", "lab"))
        built.enrol("ws-1", "alice")
        built.run_agent("ws-1")
        yield built


def enabled(house: Installation) -> bool:
    done = house.run("epm-agent", "status", "--state-dir", house.state("ws-1"), "--output", "json")
    return done.code == 0 and bool((done.json()["policy"] or {}).get("enabled"))


def members(house: Installation, name: str) -> list[tuple[Any, ...]]:
    found = house.must("epm", "groups", "members", name, "--output", "json").json()
    return [(member["name"], member["kind"], member["byGroup"]) for member in found]


def test_a_device_follows_filters_members_and_nesting(house: Installation) -> None:
    house.apply(POLICY + "---" + groups("os = linux", "found", "lab"))  # whichever test came before
    house.wait_for("the policy, by a filter in a nested group", lambda: enabled(house))
    assert members(house, "fleet") == [("other", "NESTED", "lab"), ("ws-1", "NESTED", "found")]
    shown = house.must("epm", "get", "device", "ws-1", "--output", "json").json()
    assert shown["groups"] == ["fleet", "found"]
    assert {each["name"]: each["attested"] for each in shown["attributes"]}["os"] is False

    house.apply(groups("os = windows", "found", "lab"))
    house.wait_for("no policy, by another filter", lambda: not enabled(house))
    house.apply("apiVersion: openepm/v1\nkind: Group\nmetadata: {name: lab}\nspec: {type: DEVICE, members: [ws-1]}\n")
    house.wait_for("the policy, by the members of a nested group", lambda: enabled(house))
    house.apply(groups("os = linux", "lab"))
    house.apply(groups("os = linux", "found").split("---")[1])
    assert members(house, "fleet") == [("ws-1", "NESTED", "found")]
    house.apply(groups("os = windows", "found"))
    house.wait_for("no policy, let go", lambda: not enabled(house))


def test_users_are_known_from_devices_and_documents(house: Installation) -> None:
    house.apply(
        "apiVersion: openepm/v1\nkind: Group\nmetadata: {name: visitors}\nspec: {type: USER, members: [alice, zoe]}\n"
    )
    users = house.must("epm", "users", "list", "--output", "json").json()
    assert [(user["name"], user["boundDevices"], user["groups"]) for user in users] == [
        ("alice", ["ws-1"], ["visitors"]),
        ("zoe", [], ["visitors"]),
    ]


def test_what_cannot_be_nested_is_told_at_its_place_in_the_document(house: Installation) -> None:
    house.apply(groups("os = windows", "found"))
    refused = house.run(
        "epm",
        "apply",
        "-f",
        "-",
        text="apiVersion: openepm/v1\nkind: Group\nmetadata: {name: top}\nspec: {type: DEVICE, groups: [fleet, nobody]}\n",
    )
    assert refused.code == 2
    assert 'spec.groups[0]: "fleet" itself nests "found"' in refused.errors
    assert 'spec.groups[1]: there is no group "nobody"' in refused.errors
