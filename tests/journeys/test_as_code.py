"""Policy as code: export, plan and apply of a real installation, by one, by two at once, and beside work by hand."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, assume, given, settings

from epm.policy.v1 import policies_pb2, policies_pb2_grpc
from epmctl.client import Client, connected
from epmctl.profile import Profile
from tests.builders.documents import document
from tests.builders.elevation import pem
from tests.builders.installation import Done, Installation, installation
from tests.builders.issuer import key_set
from tests.builders.randomdocuments import Document, document_sets
from tests.journeys.test_documents import DOCUMENTS

pytestmark = pytest.mark.xdist_group("as-code")
ISSUER = f"""
apiVersion: openepm/v1
kind: TrustedIssuer
metadata: {{name: corp}}
spec:
  issuer: https://login.example.com/corp
  audiences: [openepm, cli]
  jwks: {json.dumps(key_set())}
  principalPrefix: "corp:"
  groupsClaim: groups
  groupMappings: [{{claimValue: "b: admins", principalGroup: tier2}}, {{claimValue: a, principalGroup: nobody-yet}}]
"""
CERTIFICATE = "".join(f"    {line}\n" for line in pem("vendor").splitlines())
TOOLS = """
apiVersion: openepm/v1
kind: ElevationRulesPolicy
metadata: {{name: {name}, labels: {{owner: {owner}}}}}
spec:
  platform: WINDOWS
  rules:
    - name: id
      description: {description}
      detection: {{fileName: id.exe, certificate: {{reusable: {certificate}, type: PUBLISHER}}}}
"""
VENDOR = f"""
apiVersion: openepm/v1
kind: ReusableCertificate
metadata: {{name: NAME, labels: {{owner: OWNER}}}}
spec:
  pem: |
{CERTIFICATE}
"""


def tools(name: str = "tools", *, owner: str = "us", description: str = "first", certificate: str = "vendor") -> str:
    return TOOLS.format(name=name, owner=owner, description=description, certificate=certificate)


def vendor(name: str = "vendor", owner: str = "us") -> str:
    return VENDOR.replace("NAME", name).replace("OWNER", owner)


class House:
    """An installation, files of its administrators, and what they do."""

    def __init__(self, installed: Installation) -> None:
        self.installed = installed

    def files(self, name: str, *documents: str) -> Path:
        """Write documents into a file."""
        path = self.installed.folder / f"{name}.yaml"
        path.write_text("---".join(documents), encoding="utf-8")
        return path

    def plan(self, place: Path, *arguments: str | Path) -> Done:
        return self.installed.run("epm", "plan", "-f", place, *arguments)

    def apply(self, *arguments: str | Path) -> Done:
        return self.installed.run("epm", "apply", *arguments)

    def export(self, *arguments: str) -> str:
        return self.installed.must("epm", "export", "-", *arguments).output

    def names(self, kind: str) -> set[str]:
        """Name the objects of a kind."""
        shown = self.installed.must("epm", "get", kind, "--output", "json").json()
        return {one["metadata"]["name"] for one in shown}

    @contextmanager
    def client(self) -> Iterator[Client]:
        """Talk to the server as no command of ours does."""
        kept = json.loads((self.installed.folder / "config" / "profile.json").read_text())
        with connected(Profile(kept["server"], kept["ca"], kept["token"]), "by hand") as client:
            yield client

    def change_by_hand(self, name: str, description: str) -> None:
        """Change the description of the first rule of a policy, as a console does."""
        with self.client() as client:
            stub = policies_pb2_grpc.PolicyServiceStub(client.channel)
            found = client.call(stub.GetRulesPolicy, policies_pb2.GetRulesPolicyRequest(name=name)).rules_policy
            found.rules[0].description = description
            client.call(stub.UpdateRulesPolicy, policies_pb2.UpdateRulesPolicyRequest(rules_policy=found))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with installation(tmp_path_factory.mktemp("house")) as installed:
        yield installed


@pytest.fixture
def house(shared: Installation) -> House:
    """Give the installation without any policy of an earlier test."""
    built = House(shared)
    with built.client() as client:
        stub = policies_pb2_grpc.PolicyServiceStub(client.channel)
        for name in sorted(built.names("rules-policies")):
            client.call(stub.DeleteRulesPolicy, policies_pb2.DeleteRulesPolicyRequest(name=name))
        for name in sorted(built.names("certificates")):
            client.call(stub.DeleteReusableCertificate, policies_pb2.DeleteReusableCertificateRequest(name=name))
    return built


def test_a_plan_says_what_an_apply_does_and_then_there_is_nothing_to_do(house: House) -> None:
    files = house.files("mine", DOCUMENTS)
    kept = house.installed.folder / "whole.plan"

    planned = house.plan(files, "-o", kept)
    applied = house.apply("--plan", kept)
    again = house.plan(files)

    assert (planned.code, applied.code, again.code) == (2, 0, 0)
    created = {line.removeprefix("+ create  ") for line in planned.output.splitlines() if line.startswith("+ ")}
    done = {line.removeprefix("created    ") for line in applied.output.splitlines() if line.startswith("created")}
    assert created == done
    assert again.output.startswith("no changes: ")
    assert kept.stat().st_mode & 0o777 == 0o600


def test_an_export_is_the_same_bytes_again_and_changes_nothing(house: House) -> None:
    house.installed.apply(DOCUMENTS + "---" + ISSUER)
    folder = house.installed.folder / "exported"

    stream = house.export()
    house.installed.must("epm", "export", folder)
    planned = house.plan(folder)
    applied = house.apply("-f", folder)
    again = house.installed.must("epm", "export", folder)

    assert planned.code == 0, planned.output
    assert {line.split()[0] for line in applied.output.splitlines()} == {"unchanged"}
    assert house.export() == stream
    assert " 0 files changed" in again.errors
    read = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in folder.rglob("*.yaml")]
    assert sorted(map(str, read)) == sorted(map(str, yaml.safe_load_all(stream)))


@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(documents=document_sets())
def test_whatever_was_applied_can_be_exported_and_applied_without_a_change(
    house: House, documents: list[Document]
) -> None:
    text = yaml.safe_dump_all(documents, allow_unicode=True)
    assume(house.installed.run("epm", "apply", "-f", "-", text=text).code == 0)

    exported = house.export()
    again = house.installed.must("epm", "apply", "-f", "-", text=exported)
    planned = house.installed.run("epm", "plan", "-f", "-", text=text)

    assert {line.split()[0] for line in again.output.splitlines()} == {"unchanged"}
    assert house.export() == exported
    assert planned.code == 0, planned.output


def test_what_somebody_changed_by_hand_is_shown_with_who_and_put_back(house: House) -> None:
    files = house.files("mine", tools(), vendor())
    house.installed.must("epm", "apply", "-f", files)
    house.change_by_hand("tools", "by hand")

    planned = house.plan(files, "--output", "json")
    shown = house.plan(files)
    applied = house.apply("-f", files)

    (change,) = planned.json()["changes"]
    (field,) = change["fields"]
    assert (planned.code, change["name"], field["cause"]) == (2, "tools", "DRIFT")
    assert (field["rule"], field["field"], field["before"], field["after"]) == ("id", "description", "by hand", "first")
    (drift,) = change["drift"]
    assert (drift["author"], drift["action"], drift["reason"]) == ("user:owner", "UPDATED", "by hand")
    assert "! updated by hand since: user:owner, 20" in shown.output
    assert "(changed by hand; this puts it back)" in shown.output
    assert "updated by hand since: user:owner" in applied.errors
    assert house.plan(files).code == 0


def test_what_files_and_somebody_changed_both_is_a_conflict_that_the_files_win(house: House) -> None:
    house.installed.must("epm", "apply", "-f", house.files("mine", tools(), vendor()))
    house.change_by_hand("tools", "by hand")
    files = house.files("mine", tools(description="second"), vendor())

    planned = house.plan(files)
    house.apply("-f", files)

    assert planned.code == 2
    assert '"by hand" -> "second"  (CONFLICT' in planned.output
    assert planned.output.splitlines()[-1].endswith("; 1 conflict")
    assert "description: second" in house.export("--kind", "rules-policies")


def test_of_two_who_planned_at_once_the_second_learns_who_was_first_and_writes_nothing(house: House) -> None:
    house.installed.must("epm", "apply", "-f", house.files("both", tools(), vendor()))
    kept = {who: house.installed.folder / f"{who}.plan" for who in ("alice", "bob")}
    for who, place in kept.items():
        files = house.files(who, tools(description=f"by {who}"), vendor(), tools(f"only {who}"))
        assert house.plan(files, "-o", place).code == 2

    first = house.apply("--plan", kept["alice"])
    before = house.export()
    second = house.apply("--plan", kept["bob"])

    assert (first.code, second.code, second.output) == (0, 1, "")
    assert 'ElevationRulesPolicy "tools" has changed, by user:owner at 20' in second.errors
    assert second.errors.endswith("nothing was applied: plan again\n")
    assert house.export() == before


def test_of_two_who_apply_their_plans_at_the_same_moment_one_wins_whole(house: House) -> None:
    house.installed.must("epm", "apply", "-f", house.files("both", tools(), vendor()))
    kept = {who: house.installed.folder / f"{who}.plan" for who in ("alice", "bob")}
    for who, place in kept.items():
        house.plan(house.files(who, tools(description=f"by {who}"), vendor(), tools(f"only {who}")), "-o", place)

    with ThreadPoolExecutor() as both:
        done = dict(zip(kept, both.map(lambda place: house.apply("--plan", place), kept.values()), strict=True))

    (winner,) = [who for who, outcome in done.items() if outcome.code == 0]
    (loser,) = [who for who, outcome in done.items() if outcome.code == 1]
    assert 'ElevationRulesPolicy "tools"' in done[loser].errors
    assert house.names("rules-policies") == {"tools", f"only {winner}"}
    assert f"description: by {winner}" in house.export()


def test_pruning_deletes_within_the_label_alone(house: House) -> None:
    mine = house.files("mine", tools("mine"), tools("old"), vendor())
    house.installed.must("epm", "apply", "-f", mine)
    house.installed.must("epm", "apply", "-f", house.files("theirs", tools("theirs", owner="them")))
    files = house.files("mine", tools("mine"), vendor())

    without = house.plan(files)
    planned = house.plan(files, "--prune", "--owner", "owner=us")
    applied = house.apply("-f", files, "--prune", "--owner", "owner=us")

    assert without.code == 0
    assert "- delete  ElevationRulesPolicy old" in planned.output
    assert "theirs" not in planned.output
    assert "deleted    ElevationRulesPolicy old" in applied.output
    assert house.names("rules-policies") == {"mine", "theirs"}


def test_a_certificate_that_others_name_is_not_pruned_and_nothing_is_written(house: House) -> None:
    house.installed.must("epm", "apply", "-f", house.files("mine", tools("mine"), vendor()))
    house.installed.must("epm", "apply", "-f", house.files("theirs", tools("theirs", owner="them")))
    files = house.files("mine", tools("mine", description="new", certificate="other"), vendor("other"))

    refused = house.apply("-f", files, "--prune", "--owner", "owner=us")

    assert (refused.code, refused.output) == (1, "")
    assert "theirs" in refused.errors
    assert refused.errors.endswith("nothing was applied\n")
    assert (house.names("certificates"), "description: new" in house.export()) == ({"vendor"}, False)


def test_a_plan_for_one_server_is_not_applied_to_another(house: House, tmp_path: Path) -> None:
    kept = tmp_path / "kept.plan"
    house.plan(house.files("mine", vendor()), "-o", kept)

    with installation(tmp_path) as other:
        refused = other.run("epm", "apply", "--plan", kept)
        shown = other.must("epm", "get", "certificates", "--output", "json").json()

    assert (refused.code, shown) == (2, [])
    assert f"was made for {house.installed.server}, not for {other.server}" in refused.errors


def test_who_may_only_read_gets_a_plan_and_no_apply(house: House) -> None:
    house.installed.must("epm", "apply", "-f", house.files("mine", tools(), vendor()))
    members = '{role: Endpoint Privilege Reader, members: ["user:reader"]}'
    house.installed.must("epm", "apply", "-f", "-", text=document("RoleAssignment", "readers", members))
    token = house.installed.must("epm", "token", "create", "--principal", "user:reader").output.strip()
    files = house.files("mine", tools(description="second"), vendor())

    def plan() -> Done | None:
        done = house.installed.run("epm", "plan", "-f", files, EPM_TOKEN=token)
        return done if done.code == 2 else None

    planned = house.installed.wait_for("the right at every service", plan)
    assert planned is not None
    refused = house.installed.run("epm", "apply", "-f", files, EPM_TOKEN=token)

    assert '~ rules[id].description: "first" -> "second"' in planned.output
    assert "not checked by the server: not allowed: " in planned.errors
    assert (refused.code, refused.output) == (1, "")


def test_a_plan_tells_what_lint_finds_and_whom_it_reaches(house: House) -> None:
    house.installed.enrol("ws-1", "alice")
    house.installed.wait_for("the device", lambda: house.installed.run("epm", "effective", "ws-1").code == 0)
    assigned = tools() + "  assignments: {include: [{group: all-devices}]}\n"
    files = house.files("mine", assigned, vendor())

    planned = house.plan(files)
    told = house.plan(files, "--output", "json").json()

    assert planned.code == 2
    assert "warning L4  ElevationRulesPolicy tools id: " in planned.output
    assert "affected: 1 device, " in planned.output
    assert {finding["id"] for finding in told["findings"]} >= {"L4"}
    assert [(one["change"], one["device"]) for one in told["affected"]["affected"]] == [("GAINED", "ws-1")]
    assert told["notes"] == []


def test_lint_of_the_server_tells_what_is_stored_and_what_files_would_make_of_it(house: House) -> None:
    house.installed.must("epm", "apply", "-f", house.files("mine", tools(), vendor()))
    other = house.files("other", tools("other"))

    stored = house.installed.must("epm", "lint", "--server", "--output", "json").json()
    drafted = house.installed.must("epm", "lint", "--server", "-f", other, "--output", "json").json()

    assert {finding["name"] for finding in stored["findings"]} >= {"tools"}
    assert {finding["name"] for finding in drafted["findings"]} == {"other"}
    assert {finding["id"] for finding in drafted["findings"]} >= {"L4"}
    assert {finding["file"] for finding in drafted["findings"]} == {str(other)}


def test_an_apply_tells_what_lint_finds_and_writes_no_group_for_policies_that_lint_refuses(house: House) -> None:
    applied = house.apply("-f", house.files("mine", tools(), vendor()))
    group = "apiVersion: openepm/v1\nkind: Group\nmetadata: {name: new}\nspec: {type: DEVICE, filter: 'osVersion >= \"12\"'}\n"
    decided = tools("decided") + "  assignments: {include: [{group: new}]}\n"
    refused = house.apply("-f", house.files("theirs", group, decided))

    assert "warning L4  ElevationRulesPolicy tools id: " in applied.errors
    assert refused.code == 2
    assert "(D23)" in refused.errors
    assert "new" not in house.names("groups")


@pytest.mark.parametrize("scope", ["", ", scopeGroups: [all-devices, all-users], scopeTags: [default, emea]"])
def test_what_a_manager_of_policies_exported_can_be_applied_since_nothing_of_it_changes(
    house: House, scope: str
) -> None:
    house.installed.apply(DOCUMENTS)
    members = '{role: Endpoint Privilege Manager, members: ["user:manager"]' + scope + "}"
    house.installed.must("epm", "apply", "-f", "-", text=document("RoleAssignment", "managers", members))
    token = house.installed.must("epm", "token", "create", "--principal", "user:manager").output.strip()

    def export() -> str:
        return house.installed.run("epm", "export", "-", EPM_TOKEN=token).output

    exported = house.installed.wait_for("the right at every service", export)

    planned, applied = (
        house.installed.run("epm", word, "-f", "-", text=exported, EPM_TOKEN=token) for word in ("plan", "apply")
    )
    changed = house.installed.run("epm", "apply", "-f", "-", text=exported + "---" + tools("mine"), EPM_TOKEN=token)

    assert (planned.code, planned.errors) == (0, "")
    assert (applied.code, {line.split()[0] for line in applied.output.splitlines()}) == (0, {"unchanged"})
    assert len(applied.output.splitlines()) == exported.count("apiVersion: ")
    assert changed.code == 0, changed.errors


def test_an_apply_of_a_group_alone_tells_what_lint_finds_then(house: House) -> None:
    group = "apiVersion: openepm/v1\nkind: Group\nmetadata: {name: pilots}\nspec: {type: DEVICE, filter: 'FILTER'}\n"
    decided = tools("decided") + "  assignments: {include: [{group: pilots}]}\n"
    attested, reported = (group.replace("FILTER", text) for text in ('tag = "pilot"', 'osVersion >= "12"'))
    before = house.apply("-f", house.files("mine", attested, decided, vendor()))
    after = house.apply("-f", house.files("group", reported))

    assert (before.code, after.code) == (0, 0)
    assert "D23" not in before.errors
    assert "error D23  ElevationRulesPolicy decided" in after.errors


def test_the_difference_of_a_deletion_tells_what_is_gone(house: House) -> None:
    house.installed.must("epm", "apply", "-f", house.files("mine", tools(), vendor()))
    house.installed.must("epm", "delete", "rules-policy", "tools", "--yes")

    told = house.installed.must("epm", "revisions", "diff", "rules-policy", "tools").output

    assert "- rules[id]" in told
    assert "no field differs" not in told
