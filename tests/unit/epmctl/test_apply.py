"""`epm apply` checks everything before it writes anything, writes in order, and says what stands."""

import re

import grpc
import pytest
from google.protobuf.message import Message

from epm.device.v1 import groups_pb2
from epm.policy.v1 import lint_pb2, policies_pb2
from epm.rbac.v1 import rbac_pb2
from services._chassis.errors import DeniedError, InvalidError, Problem, UnavailableError
from tests.builders.console import Console, Outcome
from tests.builders.documents import GROUP, RULES, SETTINGS, document, write_documents
from tests.fakes.server import Answer, FakeServer

ROLE = document("Role", "Tier 2", "{rights: [policy_authoring.read]}")
TAG = document("ScopeTag", "emea", "{}")
EVERYTHING = (SETTINGS, RULES, GROUP, ROLE, TAG)
Request = rbac_pb2.ApplyAccessRequest | groups_pb2.ApplyGroupsRequest | policies_pb2.ApplyPoliciesRequest

LATER = "running epm apply again carries on from there"


@pytest.fixture
def applied(server: FakeServer) -> FakeServer:
    """Give a server that takes everything as new."""
    server.on(rbac_pb2.ApplyAccessRequest, _take_access)
    server.on(groups_pb2.ApplyGroupsRequest, _take_groups)
    server.on(policies_pb2.ApplyPoliciesRequest, _take_policies)
    return server


def apply(console: Console, *documents: str, arguments: tuple[str, ...] = ()) -> Outcome:
    write_documents(console.folder / "documents", *documents)
    return console.run("apply", "-f", console.folder / "documents", *arguments)


def asked(server: FakeServer) -> list[tuple[str, bool]]:
    """Give what was asked for beside reading: the request's name and whether it was only to be checked."""
    applies = [request for request in server.asked if type(request).__name__.startswith("Apply")]
    return [(type(request).__name__, bool(getattr(request, "validate_only", False))) for request in applies]


def test_everything_is_checked_and_then_written_rbac_device_policy(console: Console, applied: FakeServer) -> None:
    outcome = apply(console, *EVERYTHING)

    assert (outcome.code, outcome.err) == (0, "")
    assert asked(applied) == [
        ("ApplyAccessRequest", True),
        ("ApplyGroupsRequest", True),
        ("ApplyPoliciesRequest", True),
        ("ApplyAccessRequest", False),
        ("ApplyGroupsRequest", False),
        ("ApplyPoliciesRequest", False),
    ]


@pytest.mark.usefixtures("applied")
def test_what_became_of_each_object_is_printed(console: Console) -> None:
    outcome = apply(console, *EVERYTHING)

    assert outcome.out.splitlines() == [
        "created    Role Tier 2",
        "created    ScopeTag emea",
        "updated    Group developers",
        "unchanged  ElevationSettingsPolicy workstations",
        "created    ElevationRulesPolicy developer-tools",
    ]


def test_nothing_is_printed_before_all_is_written_so_that_no_reader_can_stop_it(
    console: Console, applied: FakeServer
) -> None:
    printed: list[str] = []

    def take(request: policies_pb2.ApplyPoliciesRequest) -> Answer:
        printed.append(console.printed())
        return _take_policies(request)

    applied.on(policies_pb2.ApplyPoliciesRequest, take)

    outcome = apply(console, *EVERYTHING)

    assert printed == ["", ""]
    assert len(outcome.out.splitlines()) == 5


@pytest.mark.usefixtures("applied")
def test_json_lists_the_objects(console: Console) -> None:
    outcome = apply(console, GROUP, arguments=("--output", "json"))

    assert outcome.json == {
        "dryRun": False,
        "objects": [{"kind": "Group", "name": "developers", "action": "UPDATED"}],
        "findings": [],
    }


@pytest.mark.parametrize("dry_run", [False, True])
def test_what_lint_finds_is_told(console: Console, applied: FakeServer, *, dry_run: bool) -> None:
    def take(request: policies_pb2.ApplyPoliciesRequest) -> policies_pb2.ApplyPoliciesResponse:
        answer = _take_policies(request)
        finding = answer.findings.add(id="L7", severity=lint_pb2.SEVERITY_HIGH, name="developer-tools", rule="id")
        finding.message, finding.why, finding.remedy = "is anywhere", "users write", "name a folder"
        return answer

    applied.on(policies_pb2.ApplyPoliciesRequest, take)
    arguments = ("--dry-run",) if dry_run else ()

    lines = apply(console, *EVERYTHING, arguments=arguments).err.splitlines()[:3]
    found = apply(console, *EVERYTHING, arguments=(*arguments, "--output", "json")).json["findings"]

    assert lines == ["high L7  developer-tools id: is anywhere", "    users write", "    name a folder"]
    assert [(finding["id"], finding["severity"], finding["rule"]) for finding in found] == [("L7", "HIGH", "id")]


def test_what_lint_found_before_is_not_told_of_policies_that_were_not_written(
    console: Console, applied: FakeServer
) -> None:
    def take(request: policies_pb2.ApplyPoliciesRequest) -> Answer:
        if not request.validate_only:
            return grpc.StatusCode.UNAVAILABLE
        answer = _take_policies(request)
        answer.findings.add(id="L7", severity=lint_pb2.SEVERITY_HIGH, name="developer-tools")
        return answer

    applied.on(policies_pb2.ApplyPoliciesRequest, take)

    assert "L7" not in apply(console, *EVERYTHING).err


def test_services_with_nothing_to_apply_are_not_called(console: Console, applied: FakeServer) -> None:
    apply(console, GROUP)

    assert asked(applied) == [("ApplyGroupsRequest", True), ("ApplyGroupsRequest", False)]


def test_the_server_hears_by_what_pending_groups_find_their_members(console: Console, applied: FakeServer) -> None:
    found = document("Group", "new", "{type: DEVICE, filter: 'osVersion >= \"12\"'}")
    apply(console, RULES, GROUP, found, document("Group", "outer", "{type: DEVICE, groups: [new]}"))

    checked, _ = applied.requests(policies_pb2.ApplyPoliciesRequest)
    told = {group.name: (group.filter, list(group.groups)) for group in checked.pending_groups}
    assert told == {"developers": ("", []), "new": ('osVersion >= "12"', []), "outer": ("", ["new"])}


def test_the_groups_of_the_set_are_pending_while_policies_are_checked(console: Console, applied: FakeServer) -> None:
    apply(console, RULES, GROUP, document("Group", "laptops", "{type: DEVICE, members: [ws-1]}"))

    checked, written = applied.requests(policies_pb2.ApplyPoliciesRequest)
    assert list(checked.pending_groups) == [
        policies_pb2.PendingGroup(name="developers", type=policies_pb2.PENDING_GROUP_TYPE_USER),
        policies_pb2.PendingGroup(name="laptops", type=policies_pb2.PENDING_GROUP_TYPE_DEVICE),
    ]
    assert not written.pending_groups


def test_policies_wait_for_the_directory_that_holds_the_groups(console: Console, applied: FakeServer) -> None:
    apply(console, RULES, GROUP)

    checked, written = applied.requests(policies_pb2.ApplyPoliciesRequest)
    assert (checked.directory_revision, written.directory_revision) == (0, 17)


def test_the_tags_of_the_set_are_pending_while_it_is_checked_and_known_when_it_is_written(
    console: Console, applied: FakeServer
) -> None:
    apply(console, *EVERYTHING)

    groups = applied.requests(groups_pb2.ApplyGroupsRequest)
    policies = applied.requests(policies_pb2.ApplyPoliciesRequest)
    told = [["emea"], []]
    assert [list(request.pending_scope_tags) for request in groups] == told
    assert [list(request.pending_scope_tags) for request in policies] == told
    assert (
        [request.access_revision for request in groups] == [request.access_revision for request in policies] == [0, 3]
    )


def test_policies_alone_wait_for_no_directory(console: Console, applied: FakeServer) -> None:
    apply(console, RULES)

    assert [request.directory_revision for request in applied.requests(policies_pb2.ApplyPoliciesRequest)] == [0, 0]


def test_a_dry_run_writes_nothing(console: Console, applied: FakeServer) -> None:
    outcome = apply(console, *EVERYTHING, arguments=("--dry-run",))

    assert outcome.code == 0
    assert "created    Role Tier 2" in outcome.out
    assert outcome.err == "nothing was written: this is what would become of the objects\n"
    assert [validate_only for _, validate_only in asked(applied)] == [True, True, True]


def test_a_policy_that_the_server_refuses_writes_nothing_anywhere(console: Console, applied: FakeServer) -> None:
    problem = Problem("rules_policies[0].rules[0].detection.file_hash", "must be 64 hexadecimal digits")
    applied.on(policies_pb2.ApplyPoliciesRequest, InvalidError([problem]))

    outcome = apply(console, *EVERYTHING)

    file = console.folder / "documents" / "documents.yaml"
    assert outcome.code == 2
    assert outcome.err.splitlines() == [
        f"{file}:14: spec.rules[0].detection.fileHash: must be 64 hexadecimal digits",
        "nothing was applied",
    ]
    assert all(validate_only for _, validate_only in asked(applied))


def test_the_problems_that_all_services_find_come_together(console: Console, applied: FakeServer) -> None:
    applied.on(rbac_pb2.ApplyAccessRequest, InvalidError([Problem("roles[0].rights", "no right")]))
    applied.on(groups_pb2.ApplyGroupsRequest, InvalidError([Problem("groups[0]", "no group")]))
    applied.on(policies_pb2.ApplyPoliciesRequest, InvalidError([Problem("elsewhere", "no policy")]))

    outcome = apply(console, *EVERYTHING)

    said = [line.partition("documents.yaml:")[2] or line for line in outcome.err.splitlines()]
    assert said == [
        "26: spec.rights: no right",
        "18: no group",
        "elsewhere: no policy",
        "nothing was applied",
    ]


def test_who_may_not_apply_a_part_applies_nothing(console: Console, applied: FakeServer) -> None:
    applied.on(groups_pb2.ApplyGroupsRequest, DeniedError("user:x needs the right groups.create"))

    outcome = apply(console, *EVERYTHING)

    assert outcome.code == 1
    assert outcome.err == "not allowed: user:x needs the right groups.create\nnothing was applied\n"
    assert ("ApplyAccessRequest", False) not in asked(applied)


def test_a_later_refusal_names_what_stands(console: Console, applied: FakeServer) -> None:
    applied.on(groups_pb2.ApplyGroupsRequest, lambda request: _when_written(request, DeniedError("not any more")))

    outcome = apply(console, *EVERYTHING)

    assert outcome.code == 1
    assert outcome.out.splitlines() == ["created    Role Tier 2", "created    ScopeTag emea"]
    assert outcome.err.splitlines() == [
        "not allowed: not any more",
        f"applied: access; not applied: groups, policies; {LATER}",
    ]


def test_a_later_problem_is_a_failure_and_no_bad_input(console: Console, applied: FakeServer) -> None:
    late = InvalidError([Problem("rules_policies[0].assignments", "the group is gone")])
    applied.on(policies_pb2.ApplyPoliciesRequest, lambda request: _when_written(request, late))

    outcome = apply(console, *EVERYTHING)

    assert outcome.code == 1
    assert "documents.yaml:16: spec.assignments: the group is gone" in outcome.err
    assert outcome.err.splitlines()[-1] == f"applied: access, groups; not applied: policies; {LATER}"


def test_a_directory_that_is_late_leaves_the_groups_standing(console: Console, applied: FakeServer) -> None:
    late = UnavailableError("the directory is not at revision 17 yet; try again")
    applied.on(policies_pb2.ApplyPoliciesRequest, lambda request: _when_written(request, late))

    outcome = apply(console, *EVERYTHING)

    assert outcome.code == 1
    assert outcome.err.splitlines() == [
        "the directory is not at revision 17 yet; try again",
        f"applied: access, groups; perhaps applied: policies; {LATER}",
    ]


def test_a_way_that_breaks_leaves_a_part_in_doubt(console: Console, applied: FakeServer) -> None:
    applied.on(rbac_pb2.ApplyAccessRequest, lambda request: _when_written(request, grpc.StatusCode.DEADLINE_EXCEEDED))

    outcome = apply(console, *EVERYTHING, arguments=("--output", "json"))

    assert outcome.code == 1
    assert outcome.json == {"dryRun": False, "objects": [], "findings": []}
    assert outcome.err.splitlines()[-1] == f"perhaps applied: access; not applied: groups, policies; {LATER}"


def test_flaws_of_the_documents_are_told_before_anybody_is_called(console: Console, applied: FakeServer) -> None:
    outcome = apply(console, RULES.replace("vscode-setup", ""), "kind: Nothing\n")

    assert outcome.code == 2
    assert "spec.rules[0].name" in outcome.err
    assert "kind: must be one of" in outcome.err
    assert applied.asked == []


def test_no_documents_are_bad_input(console: Console, applied: FakeServer) -> None:
    outcome = apply(console, "# nothing\n")

    assert (outcome.code, applied.asked) == (2, [])
    assert outcome.err.endswith("no documents in there; nothing was applied\n")


@pytest.mark.usefixtures("applied")
def test_documents_are_read_from_standard_input_too(console: Console) -> None:
    outcome = console.run("apply", "-f", "-", stdin=GROUP)

    assert (outcome.code, outcome.out) == (0, "updated    Group developers\n")


@pytest.mark.usefixtures("applied")
def test_metadata_that_no_server_keeps_is_named(console: Console) -> None:
    outcome = apply(console, GROUP.replace("{name: developers}", "{name: developers, labels: {owner: me}}"))

    assert outcome.code == 0
    assert "documents.yaml:3: metadata.labels: not applied: the server keeps none for a Group" in outcome.err


def test_more_than_a_server_takes_at_once_is_refused_here(console: Console, applied: FakeServer) -> None:
    members = ", ".join(f"{'x' * 110}{number}" for number in range(20_000))
    spec = f"{{type: USER, members: [{members}]}}"

    outcome = apply(console, document("Group", "everybody", spec), document("Group", "others", spec))

    assert outcome.code == 2
    assert re.fullmatch(
        r"the groups are 4\d{6} bytes, more than the 4194304 that a server takes at once; "
        r"apply fewer documents at a time\nnothing was applied\n",
        outcome.err,
    )
    assert asked(applied) == []


def _when_written(request: Request, answer: Answer) -> Answer:
    """Take a request that is only to be checked, and give `answer` to one that is to be written."""
    if not request.validate_only:
        return answer
    match request:
        case rbac_pb2.ApplyAccessRequest():
            return _take_access(request)
        case groups_pb2.ApplyGroupsRequest():
            return _take_groups(request)
        case policies_pb2.ApplyPoliciesRequest():
            return _take_policies(request)


def _take_access(request: rbac_pb2.ApplyAccessRequest) -> Message:
    created = rbac_pb2.APPLY_ACTION_CREATED
    named = [
        *(("Role", role.name) for role in request.roles),
        *(("ScopeTag", tag.name) for tag in request.scope_tags),
    ]
    objects = [rbac_pb2.AppliedObject(kind=kind, name=name, action=created) for kind, name in named]
    return rbac_pb2.ApplyAccessResponse(objects=objects, revision=3)


def _take_groups(request: groups_pb2.ApplyGroupsRequest) -> Message:
    updated = groups_pb2.APPLY_ACTION_UPDATED
    groups = [groups_pb2.AppliedGroup(name=group.name, action=updated) for group in request.groups]
    return groups_pb2.ApplyGroupsResponse(groups=groups, directory_revision=17)


def _take_policies(request: policies_pb2.ApplyPoliciesRequest) -> policies_pb2.ApplyPoliciesResponse:
    objects = [
        policies_pb2.AppliedObject(
            kind="ElevationSettingsPolicy",
            name=policy.metadata.name,
            action=policies_pb2.APPLY_ACTION_UNCHANGED,
        )
        for policy in request.settings_policies
    ]
    objects += [
        policies_pb2.AppliedObject(
            kind="ElevationRulesPolicy", name=policy.metadata.name, action=policies_pb2.APPLY_ACTION_CREATED
        )
        for policy in request.rules_policies
    ]
    return policies_pb2.ApplyPoliciesResponse(objects=objects, revision=4)
