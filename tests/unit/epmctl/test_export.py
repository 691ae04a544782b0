"""`epm export` writes the same state as the same bytes, and touches no file that is not its own."""

import os
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from epm.device.v1 import groups_pb2
from epm.policy.v1 import policies_pb2
from epm.rbac.v1 import rbac_pb2
from epmctl.ascode.folder import file_names
from epmctl.ascode.live import OBJECT_KINDS
from epmctl.documents.files import FOLDERS
from epmctl.documents.model import Kind
from services._chassis.errors import DeniedError
from tests.builders.console import Console
from tests.builders.elevation import pem
from tests.fakes.server import FakeServer

NAMES = st.sets(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=128), max_size=20)


def certificate(name: str, **labels: str) -> policies_pb2.ReusableCertificate:
    about = policies_pb2.Metadata(name=name, labels=labels, etag="1")
    return policies_pb2.ReusableCertificate(metadata=about, pem=pem("vendor"))


def group(name: str, *members: str) -> groups_pb2.Group:
    return groups_pb2.Group(name=name, type=groups_pb2.GROUP_TYPE_USER, members=members)


def holds(server: FakeServer, *objects: policies_pb2.ReusableCertificate | groups_pb2.Group) -> None:
    certificates = [one for one in objects if isinstance(one, policies_pb2.ReusableCertificate)]
    server.on(
        policies_pb2.ListReusableCertificatesRequest,
        policies_pb2.ListReusableCertificatesResponse(reusable_certificates=certificates),
    )
    groups = [one for one in objects if isinstance(one, groups_pb2.Group)]
    server.on(groups_pb2.ListGroupsRequest, groups_pb2.ListGroupsResponse(groups=groups))


def files(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_there_is_a_file_for_each_object_in_a_folder_for_each_kind(console: Console, server: FakeServer) -> None:
    holds(server, group("b"), group("a/../b"), certificate("vendor"))
    outcome = console.run("export", console.folder / "out")
    assert outcome.code == 0
    assert set(files(console.folder / "out")) == {
        "groups/b.yaml",
        "groups/a%2f..%2fb.yaml",
        "certificates/vendor.yaml",
    }
    assert outcome.err == f"3 objects in {console.folder / 'out'}, 3 files changed\n"


def test_the_same_state_is_the_same_bytes_whatever_the_order_of_the_answer(
    console: Console, server: FakeServer
) -> None:
    holds(server, group("b", "y", "x"), certificate("c", b="2", a="1"), group("a"))
    first = console.run("export", "-")
    holds(server, group("a"), group("b", "x", "y"), certificate("c", a="1", b="2"))
    second = console.run("export", "-")
    assert first.out == second.out
    assert [one["metadata"]["name"] for one in yaml.safe_load_all(first.out)] == ["a", "b", "c"]


def test_files_that_are_right_already_are_not_touched(console: Console, server: FakeServer) -> None:
    holds(server, group("a"), group("b"))
    out = console.folder / "out"
    console.run("export", out)
    (out / "groups" / "b.yaml").write_text("old")
    os.utime(out / "groups" / "a.yaml", (1, 1))
    outcome = console.run("export", out)
    assert outcome.err.endswith("2 objects in " + f"{out}, 1 files changed\n")
    assert (out / "groups" / "a.yaml").stat().st_mtime == 1


def test_built_in_roles_are_left_out(console: Console, server: FakeServer) -> None:
    roles = [rbac_pb2.Role(name="Owner", rights=["x.y"], built_in=True), rbac_pb2.Role(name="own", rights=["x.y"])]
    server.on(rbac_pb2.ListRolesRequest, rbac_pb2.ListRolesResponse(roles=roles))
    assert [one["metadata"]["name"] for one in yaml.safe_load_all(console.run("export", "-").out)] == ["own"]


def test_an_owner_gets_what_carries_the_label(console: Console, server: FakeServer) -> None:
    holds(server, certificate("mine", owner="us"), certificate("theirs", owner="them"), group("everybodys"))
    outcome = console.run("export", "-", "--owner", "owner=us")
    assert [one["metadata"]["name"] for one in yaml.safe_load_all(outcome.out)] == ["mine"]


def test_kinds_are_chosen_by_the_words_of_get(console: Console, server: FakeServer) -> None:
    holds(server, certificate("c"), group("g"))
    assert "kind: Group" in console.run("export", "-", "--kind", "groups").out
    assert "kind: Group" not in console.run("export", "-", "--kind", "certificate").out


@pytest.mark.parametrize(
    "arguments",
    [
        ["--kind", "devices"],
        ["--kind", "nonsense"],
        ["--owner", "us"],
        ["--clean"],
        ["--owner", "a=b", "--kind", "groups"],
    ],
)
def test_what_cannot_be_exported_is_bad_input(console: Console, server: FakeServer, arguments: list[str]) -> None:
    outcome = console.run("export", "-", *arguments)
    assert (outcome.code, outcome.out, server.asked) == (2, "", [])


def test_what_may_not_be_read_is_named(console: Console, server: FakeServer) -> None:
    holds(server, group("g"))
    server.on(rbac_pb2.ListRolesRequest, DeniedError("needs roles.read"))
    outcome = console.run("export", "-")
    assert outcome.code == 0
    assert outcome.err == "left out, since you may not read them: roles\n"


def test_files_of_objects_that_are_gone_are_named_and_removed_only_when_asked(
    console: Console, server: FakeServer
) -> None:
    out = console.folder / "out"
    holds(server, group("kept"), group("gone"))
    console.run("export", out)
    holds(server, group("kept"))
    named = console.run("export", out)
    stayed = set(files(out))
    removed = console.run("export", out, "--clean")
    assert f"{out / 'groups' / 'gone.yaml'}: the server holds no group gone; --clean removes the file" in named.err
    assert (stayed, set(files(out))) == ({"groups/kept.yaml", "groups/gone.yaml"}, {"groups/kept.yaml"})
    assert "the server holds no group gone; removed" in removed.err


def test_cleaning_leaves_what_is_no_export_alone(console: Console, server: FakeServer) -> None:
    out = console.folder / "out"
    holds(server, group("one"), certificate("theirs", owner="them"))
    console.run("export", out)
    (out / "groups" / "README.md").write_text("mine")
    (out / "groups" / "broken.yaml").write_text("{")
    one = (out / "groups" / "one.yaml").read_text()
    (out / "groups" / "several.yaml").write_text(one.replace("one", "two") + "---\n" + one.replace("one", "three"))
    (out / "certificates" / "group.yaml").write_text(one.replace("one", "four"))
    (out / "own.yaml").write_text(one.replace("one", "five"))
    before = set(files(out))
    holds(server)
    console.run("export", out, "--clean", "--owner", "owner=us")
    assert set(files(out)) == before
    console.run("export", out, "--clean")
    assert before - set(files(out)) == {"groups/one.yaml", "certificates/theirs.yaml"}


def test_a_folder_that_cannot_be_written_is_a_failure(console: Console, server: FakeServer) -> None:
    holds(server, group("g"))
    (console.folder / "out").write_text("a file")
    outcome = console.run("export", console.folder / "out")
    assert outcome.code == 1
    assert "cannot be written" in outcome.err


@given(NAMES)
def test_every_name_has_a_file_of_its_own_that_any_file_system_takes(names: set[str]) -> None:
    paths = file_names([(Kind.Group, name) for name in names]).values()
    assert len({str(path).casefold() for path in paths}) == len(names)
    for path in paths:
        assert re.fullmatch(r"groups/[A-Za-z0-9_%~-][A-Za-z0-9_.%~-]*\.yaml", str(path))
        assert len(path.name) < 255


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("Tier 2", "Tier%202"),
        ("..", "%2e."),
        ("nul", "%6eul"),
        ("COM1.x", "%43OM1.x"),
        ("é~", "%c3%a9%7e"),
        ("a.b-c_d", "a.b-c_d"),
    ],
)
def test_names_are_plain_where_they_can_be(name: str, file: str) -> None:
    assert file_names([(Kind.Role, name)]) == {(Kind.Role, name): Path(f"roles/{file}.yaml")}


def test_names_that_differ_by_case_alone_are_told_apart() -> None:
    names = file_names([(Kind.Group, "Ops"), (Kind.Group, "ops"), (Kind.Role, "ops")])
    assert [str(path).partition("~")[0] for path in names.values()] == ["groups/Ops", "groups/ops", "roles/ops.yaml"]


def test_the_folders_of_an_export_are_those_that_are_read() -> None:
    assert {kind.name for kind in OBJECT_KINDS.values()} == FOLDERS


@pytest.mark.parametrize("arguments", [(), ("--kind", "settings-policy"), ("--owner", "owner=us")])
def test_groups_that_policies_name_and_nobody_knows_are_said(
    console: Console, server: FakeServer, arguments: tuple[str, ...]
) -> None:
    policy = policies_pb2.SettingsPolicy(metadata=policies_pb2.Metadata(name="on", labels={"owner": "us"}))
    policy.settings.enabled = True
    for name in ("all-devices", "here", "gone"):
        policy.assignments.include.add(group=name)
    policy.assignments.exclude.add(group="gone too")
    held = policies_pb2.ListSettingsPoliciesResponse(settings_policies=[policy])
    server.on(policies_pb2.ListSettingsPoliciesRequest, held)
    holds(server, group("here"))
    said = [line.partition(",")[0] for line in console.run("export", "-", *arguments).err.splitlines()]
    assert said == [f"ElevationSettingsPolicy on names the group {name}" for name in ("gone", "gone too")]


def test_of_groups_that_nobody_shows_nothing_is_said(console: Console, server: FakeServer) -> None:
    policy = policies_pb2.SettingsPolicy(metadata=policies_pb2.Metadata(name="on"))
    policy.settings.enabled = True
    policy.assignments.include.add(group="unseen")
    held = policies_pb2.ListSettingsPoliciesResponse(settings_policies=[policy])
    server.on(policies_pb2.ListSettingsPoliciesRequest, held)
    server.on(groups_pb2.ListGroupsRequest, DeniedError("needs groups.read"))
    assert "unseen" not in console.run("export", "-").err
