"""Whom policies reach, from `epm apply` through the policy service and the device service to the refusal."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders.installation import Done, Installation, installation

pytestmark = pytest.mark.xdist_group("reach")
SCOPES = """
apiVersion: openepm/v1
kind: Role
metadata: {name: Group Keeper}
spec: {rights: [groups.read, groups.create, groups.update, groups.delete]}
---
apiVersion: openepm/v1
kind: RoleAssignment
metadata: {name: keepers}
spec: {role: Group Keeper, members: ["user:author", "user:keeper"]}
---
apiVersion: openepm/v1
kind: RoleAssignment
metadata: {name: author}
spec: {role: Endpoint Privilege Manager, members: ["user:author"], scopeGroups: [kiosks]}
"""
POLICY = """
apiVersion: openepm/v1
kind: ElevationSettingsPolicy
metadata: {name: NAME}
spec: {defaultResponse: DENY, assignments: {include: [{group: GROUP}]}}
"""
GROUP = """
apiVersion: openepm/v1
kind: Group
metadata: {name: NAME}
spec: {type: DEVICE, members: [MEMBERS]}
"""


def group(name: str, *members: str) -> str:
    return GROUP.replace("NAME", name).replace("MEMBERS", ", ".join(members))


def policy(name: str, group: str) -> str:
    return POLICY.replace("NAME", name).replace("GROUP", group)


class House:
    """An installation, and people who work in it."""

    def __init__(self, installed: Installation) -> None:
        self.installed = installed
        self.tokens: dict[str, Path] = {}
        installed.apply(SCOPES)
        for name in ("author", "keeper"):
            issued = installed.must("epm", "token", "create", "--principal", f"user:{name}", "--output", "json").json()
            self.tokens[name] = installed.folder / f"{name}-token"
            self.tokens[name].write_text(issued["secret"], encoding="utf-8")
            self.tokens[name].chmod(0o600)
        installed.wait_for("the rights at the device service", lambda: all(map(self.may_read_groups, self.tokens)))
        installed.wait_for("the author's at the policy service", self.may_author)

    def may_read_groups(self, who: str) -> bool:
        return self.installed.knows(self.tokens[who], "get", "groups")

    def may_author(self) -> bool:
        return self.installed.knows(self.tokens["author"], "get", "settings-policies")

    def apply(self, who: str, *documents: str, options: tuple[str, ...] = ()) -> Done:
        named = {"EPM_TOKEN_FILE": str(self.tokens[who])} if who in self.tokens else {}
        return self.installed.run("epm", "apply", *options, "-f", "-", text="---".join(documents), **named)

    def actions(self, who: str, *documents: str) -> list[str]:
        done = self.apply(who, *documents)
        assert done.code == 0, done.errors
        return [line.split()[0] for line in done.output.splitlines()]

    def is_withheld(self, who: str, document: str) -> bool:
        """Tell whether an apply would be refused because policies reach by the group."""
        done = self.apply(who, document, options=("--dry-run",))
        assert done.code == 0 or "policies are assigned to" in done.errors, done.errors
        return done.code != 0


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with installation(tmp_path_factory.mktemp("house")) as installed:
        yield House(installed)


def test_an_author_converges_within_the_scope_and_nobody_else_widens_what_policies_reach(house: House) -> None:
    mine = policy("mine", "kiosks")
    assert house.actions("author", group("kiosks", "k-1"), mine) == ["created", "created"]
    assert house.actions("keeper", group("lobby", "l-1")) == ["created"]
    assert house.actions("owner", policy("theirs", "lobby")) == ["created"]

    house.installed.wait_for("the report", lambda: house.is_withheld("keeper", group("lobby", "l-1", "l-2")))

    assert house.actions("author", group("kiosks", "k-1"), mine) == ["unchanged", "unchanged"]
    assert house.actions("author", group("kiosks", "k-1", "k-2"), mine) == ["updated", "unchanged"]
    for who in ("author", "keeper"):
        refused = house.apply(who, group("lobby", "l-1", "l-2"))
        assert refused.code == 1
        assert 'policies are assigned to "lobby"' in refused.errors
    assert house.apply("keeper", group("kiosks", "k-3")).code == 1
    assert house.actions("owner", group("lobby", "l-1", "l-2"), group("kiosks", "k-3")) == ["updated", "updated"]
    assert house.actions("keeper", group("lobby", "l-1", "l-2"), group("cellar", "c-1")) == ["unchanged", "created"]

    assert house.installed.end("server") == 0
    house.installed.serve()
    assert house.is_withheld("keeper", group("lobby", "l-1"))


def test_nobody_widens_what_policies_reach_by_a_nested_group(house: House) -> None:
    nesting = "\napiVersion: openepm/v1\nkind: Group\nmetadata: {name: tower}\nspec: {type: DEVICE, groups: [NESTED]}\n"
    tower, bare = nesting.replace("NESTED", "room"), nesting.replace("NESTED", "")
    assert house.actions("keeper", group("room", "r-1"), group("spare", "s-1"), tower) == ["created"] * 3
    assert house.actions("keeper", group("room", "r-1", "r-2")) == ["updated"]
    assert house.actions("owner", policy("tower", "tower")) == ["created"]
    house.installed.wait_for("the report", lambda: house.is_withheld("keeper", group("room", "r-1")))

    for document in (
        group("room", "r-1"),
        bare,
        nesting.replace("NESTED", "room, spare"),
        nesting.replace("NESTED", "spare"),
    ):
        for who in ("keeper", "author"):
            refused = house.apply(who, document)
            assert (refused.code, 'policies are assigned to "tower"' in refused.errors) == (1, True)
    assert house.actions("keeper", group("spare", "s-2"), tower) == ["updated", "unchanged"]
    assert house.actions("owner", group("room", "r-1"), bare) == ["updated", "updated"]
    assert house.actions("keeper", group("room", "r-3")) == ["updated"]
