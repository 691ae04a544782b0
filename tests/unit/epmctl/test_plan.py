"""`epm plan` shows what would change, by whose doing, what lint finds and who is affected; its exit code tells a program."""

import json
from collections.abc import Sequence

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from epm.device.v1 import groups_pb2
from epm.elevation.v1 import settings_pb2
from epm.policy.v1 import analysis_pb2, lint_pb2, policies_pb2, revisions_pb2
from services._chassis.errors import (
    DeniedError,
    InvalidError,
    NotFoundError,
    Problem,
    StateError,
)
from tests.builders.console import Console, Outcome
from tests.builders.documents import GROUP, RULES, SETTINGS, document, write_documents
from tests.fakes.server import FakeServer

NOON = Timestamp(seconds=1_795_435_200)
DEVELOPERS = groups_pb2.Group(
    name="developers", type=groups_pb2.GROUP_TYPE_USER, members=["alice", "bob"], scope_tags=["default"], etag="g1"
)
FINDING = lint_pb2.Finding(
    id="L7",
    severity=lint_pb2.SEVERITY_HIGH,
    kind="ElevationRulesPolicy",
    name="developer-tools",
    rule="vscode-setup",
    message="any version of any publisher \x1b[31m matches",
    why="anybody can sign",
    remedy="name the publisher",
)
TOOLS = policies_pb2.ObjectRef(kind="ElevationRulesPolicy", name="developer-tools")


def plan(console: Console, *documents: str, arguments: Sequence[str] = ()) -> Outcome:
    write_documents(console.folder / "documents", *documents)
    return console.run("plan", "-f", console.folder / "documents", *arguments)


def holds(server: FakeServer, *groups: groups_pb2.Group) -> None:
    server.on(groups_pb2.ListGroupsRequest, groups_pb2.ListGroupsResponse(groups=groups))


def changed(**values: object) -> groups_pb2.Group:
    copy = groups_pb2.Group()
    copy.CopyFrom(DEVELOPERS)
    for field, value in values.items():
        copy.ClearField(field)  # type: ignore[arg-type]
        copy.MergeFrom(groups_pb2.Group(**{field: value}))  # type: ignore[arg-type]
    return copy


def writes(server: FakeServer) -> list[object]:
    return [request for request in server.asked if not getattr(request, "validate_only", True)]


def test_no_changes_end_with_0_and_changes_with_2(console: Console, server: FakeServer) -> None:
    holds(server, DEVELOPERS)
    same = plan(console, GROUP)
    holds(server, changed(members=["alice", "carol"]))
    other = plan(console, GROUP)

    assert (same.code, same.out) == (0, "no changes: 1 object as the files say\n")
    assert other.code == 2
    assert other.out.splitlines() == [
        "~ update  Group developers",
        '    - members: "carol"',
        '    + members: "bob"',
        "",
        "affected: 0 devices, 0 users",
        "plan: 0 to create, 1 to update, 0 to delete, 0 unchanged",
    ]


@pytest.mark.parametrize(
    ("arguments", "documents"),
    [
        (["--owner", "us"], (GROUP,)),
        (["--prune"], (GROUP,)),
        (["--nonsense"], (GROUP,)),
        ([], ("kind: Nothing\n",)),
        ([], ("# nothing\n",)),
        (["--owner", "owner=us"], (RULES,)),
    ],
    ids=["no label", "pruning nobody's", "unknown option", "flaws", "no documents", "another's documents"],
)
def test_bad_input_ends_with_1_since_2_means_changes(
    console: Console, server: FakeServer, arguments: Sequence[str], documents: Sequence[str]
) -> None:
    outcome = plan(console, *documents, arguments=arguments)
    assert (outcome.code, outcome.out, server.asked) == (1, "", [])
    assert outcome.err


def test_documents_without_the_owners_label_are_named_with_their_lines(console: Console) -> None:
    outcome = plan(console, RULES, GROUP, SETTINGS, arguments=["--owner", "owner=us"])
    said = "metadata.labels: lacks the label owner=us that --owner names; add it, or plan these documents apart"
    assert [line.partition("documents.yaml:")[2] for line in outcome.err.splitlines()] == [f"3: {said}", f"20: {said}"]


def test_what_the_server_refuses_ends_with_1_at_its_place(console: Console, server: FakeServer) -> None:
    server.on(groups_pb2.ApplyGroupsRequest, InvalidError([Problem("groups[0].members", "too many")]))
    outcome = plan(console, GROUP)
    assert (outcome.code, outcome.out) == (1, "")
    assert "documents.yaml:4: spec.members: too many" in outcome.err


def test_a_plan_writes_nothing(console: Console, server: FakeServer) -> None:
    plan(console, GROUP, RULES, document("ScopeTag", "emea", "{}"))
    assert writes(server) == []
    assert [request.validate_only for request in server.requests(policies_pb2.ApplyPoliciesRequest)] == [True]


def test_who_may_only_read_gets_a_plan_that_says_so(console: Console, server: FakeServer) -> None:
    server.on(groups_pb2.ApplyGroupsRequest, DeniedError("user:x needs the right groups.update"))
    outcome = plan(console, GROUP)
    assert outcome.code == 2
    assert "+ create  Group developers" in outcome.out
    assert outcome.err == "not checked by the server: not allowed: user:x needs the right groups.update\n"


def test_what_may_neither_be_read_nor_checked_is_no_plan(console: Console, server: FakeServer) -> None:
    server.on(groups_pb2.ListGroupsRequest, DeniedError("needs groups.read"))
    server.on(groups_pb2.ApplyGroupsRequest, DeniedError("needs groups.update"))
    outcome = plan(console, GROUP)
    assert outcome.code == 1
    assert outcome.err.splitlines()[-1] == "nobody can tell what would change"


def test_what_lint_finds_is_shown_worst_first_and_harmless(console: Console, server: FakeServer) -> None:
    server.streams(analysis_pb2.LintRequest, [analysis_pb2.LintResponse(findings=[FINDING])])
    outcome = plan(console, RULES)
    assert "high L7  ElevationRulesPolicy developer-tools vscode-setup: any version" in outcome.out
    assert "    anybody can sign\n    name the publisher\n" in outcome.out
    assert "\x1b" not in outcome.out
    (asked,) = server.requests(analysis_pb2.LintRequest)
    assert (asked.draft_only, [one.metadata.name for one in asked.draft.rules_policies]) == (True, ["developer-tools"])


def test_who_is_affected_is_counted_and_named(console: Console, server: FakeServer) -> None:
    reach = analysis_pb2.PreviewAssignmentsResponse(
        counts=[analysis_pb2.ReachCount(policy=TOOLS, devices_gained=2, users_lost=1)],
        devices_affected=2,
        users_affected=1,
        affected=[
            analysis_pb2.AffectedTarget(policy=TOOLS, device="ws-1"),
            analysis_pb2.AffectedTarget(policy=TOOLS, device="ws-2", user="alice"),
        ],
    )
    server.on(analysis_pb2.PreviewAssignmentsRequest, reach)
    outcome = plan(console, RULES, GROUP)
    assert outcome.out.splitlines()[-4:-1] == [
        "affected: 2 devices, 1 user",
        "    ElevationRulesPolicy developer-tools: 2 devices gaining it, 1 user losing it",
        "    ws-1, alice on ws-2",
    ]
    (asked,) = server.requests(analysis_pb2.PreviewAssignmentsRequest)
    assert [(one.name, list(one.members)) for one in asked.draft.groups] == [("developers", ["alice", "bob"])]


def test_a_server_that_does_not_tell_what_would_come_of_it_is_no_obstacle(console: Console, server: FakeServer) -> None:
    server.streams(analysis_pb2.LintRequest, [StateError("not here")])
    server.on(analysis_pb2.PreviewAssignmentsRequest, DeniedError("needs policy_authoring.read"))
    outcome = plan(console, RULES)
    assert outcome.code == 2
    assert outcome.err.splitlines() == [
        "what lint finds is not known: not here",
        "who is affected is not known: not allowed: needs policy_authoring.read",
    ]


def test_json_says_all_of_it(console: Console, server: FakeServer) -> None:
    holds(server, changed(description="by hand"))
    server.streams(analysis_pb2.LintRequest, [analysis_pb2.LintResponse(findings=[FINDING])])
    outcome = plan(console, GROUP, arguments=["--output", "json"])
    field = {"rule": "", "field": "metadata.description", "action": "REMOVED", "before": "by hand", "after": None}
    assert outcome.json["changes"] == [
        {
            "kind": "Group",
            "name": "developers",
            "action": "UPDATE",
            "drift": [],
            "fields": [{**field, "cause": "FILES"}],
        }
    ]
    assert (outcome.json["unchanged"], outcome.json["findings"][0]["id"], outcome.json["notes"]) == (0, "L7", [])
    assert outcome.json["affected"]["devicesAffected"] == 0


def test_who_changed_a_policy_since_code_did_is_told(console: Console, server: FakeServer) -> None:
    policy = policies_pb2.SettingsPolicy(
        metadata=policies_pb2.Metadata(name="workstations", etag="9", change=9, applied_change=5),
        settings=settings_pb2.ElevationSettings(),
    )
    server.on(
        policies_pb2.ListSettingsPoliciesRequest, policies_pb2.ListSettingsPoliciesResponse(settings_policies=[policy])
    )
    base = policies_pb2.AuthoredObject(settings_policy=policy)
    server.on(revisions_pb2.GetRevisionRequest, revisions_pb2.GetRevisionResponse(object=base))
    revisions = [
        revisions_pb2.Revision(
            change=change, author=f"user:{change}", time=NOON, action=revisions_pb2.REVISION_ACTION_ASSIGNED
        )
        for change in (9, 7, 5)
    ]
    server.on(revisions_pb2.ListRevisionsRequest, revisions_pb2.ListRevisionsResponse(revisions=revisions))
    outcome = plan(console, SETTINGS)
    assert [line for line in outcome.out.splitlines() if "!" in line] == [
        "    ! assigned by hand since: user:9, 2026-11-23T12:00:00Z",
        "    ! assigned by hand since: user:7, 2026-11-23T12:00:00Z",
    ]
    assert server.requests(revisions_pb2.GetRevisionRequest)[0].change == 5


def test_an_object_that_never_was_has_no_past(console: Console, server: FakeServer) -> None:
    server.on(revisions_pb2.ListRevisionsRequest, NotFoundError("never"))
    assert plan(console, SETTINGS).code == 2


def test_colours_are_for_terminals_that_want_them(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    plain = plan(console, GROUP).out
    monkeypatch.setattr("epmctl.colours.sys.stdout.isatty", lambda: True, raising=False)
    coloured = plan(console, GROUP).out
    monkeypatch.setenv("NO_COLOR", "1")
    wanted_plain = plan(console, GROUP).out
    assert "\x1b[32m" in coloured
    assert plain == wanted_plain
    assert "\x1b" not in plain


def test_the_json_of_a_plan_is_one_object(console: Console) -> None:
    assert set(json.loads(plan(console, GROUP, arguments=["--output", "json"]).out)) == {
        "changes",
        "unchanged",
        "findings",
        "affected",
        "notes",
    }


def test_a_device_that_gains_and_loses_a_policy_by_its_users_is_told_so(console: Console, server: FakeServer) -> None:
    reach = analysis_pb2.PreviewAssignmentsResponse(devices_affected=1, users_affected=2)
    reach.counts.add(policy=TOOLS, devices_gained=1, devices_lost=1, users_gained=1, users_lost=1)
    server.on(analysis_pb2.PreviewAssignmentsRequest, reach)
    said = "1 device gaining it for some user, 1 device losing it for some user, 1 user gaining it, 1 user losing it"
    assert f"    ElevationRulesPolicy developer-tools: {said}" in plan(console, GROUP).out.splitlines()


def test_other_objects_that_have_part_in_a_finding_are_named(console: Console, server: FakeServer) -> None:
    finding = lint_pb2.Finding()
    finding.CopyFrom(FINDING)
    finding.related.add(kind="ElevationRulesPolicy", name="other", rule="r")
    finding.related.add()
    server.streams(analysis_pb2.LintRequest, [analysis_pb2.LintResponse(findings=[finding])])
    assert "    with: ElevationRulesPolicy other/r, an object that you may not see" in plan(console, GROUP).out
