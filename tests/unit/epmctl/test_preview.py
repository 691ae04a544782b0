"""`epm preview` tells who would gain and lose what."""

from pathlib import Path

from epm.policy.v1 import analysis_pb2, policies_pb2
from services._chassis.errors import InvalidError, Problem
from tests.builders.console import Console
from tests.builders.documents import GROUP, RULES, write_documents
from tests.fakes.server import FakeServer

TOOLS = policies_pb2.ObjectRef(kind="ElevationRulesPolicy", name="tools")
SECRET = policies_pb2.ObjectRef(kind="ElevationSettingsPolicy")


def entry(number: int, user: str = "") -> analysis_pb2.AffectedTarget:
    gained = analysis_pb2.REACH_CHANGE_GAINED
    return analysis_pb2.AffectedTarget(change=gained, policy=TOOLS, device=f"ws-{number}", user=user)


def answers(server: FakeServer, *entries: analysis_pb2.AffectedTarget) -> None:
    def answer(asked: analysis_pb2.PreviewAssignmentsRequest) -> analysis_pb2.PreviewAssignmentsResponse:
        start = int(asked.page_token or "0")
        end = start + asked.page_size
        found = analysis_pb2.PreviewAssignmentsResponse(
            affected=entries[start:end], next_page_token=str(end) if end < len(entries) else ""
        )
        if not start:
            found.devices_affected, found.users_affected = 3, 1
            found.counts.add(policy=SECRET, devices_lost=2)
            found.counts.add(policy=TOOLS, devices_gained=3, users_gained=1)
        return found

    server.on(analysis_pb2.PreviewAssignmentsRequest, answer)


def test_policies_stand_in_a_table_with_their_counts(console: Console, server: FakeServer, tmp_path: Path) -> None:
    answers(server, entry(1), entry(2))
    outcome = console.run("preview", "-f", write_documents(tmp_path / "draft", RULES, GROUP))
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.splitlines() == [
        "devices affected  3",
        "users affected    1",
        "",
        "POLICY                      KIND      DEVICES GAIN  DEVICES LOSE  DEVICES CHANGE  USERS GAIN  USERS LOSE",
        "(one that you may not see)  settings             0             2               0           0           0",
        "tools                       rules                3             0               0           1           0",
    ]
    [asked] = server.requests(analysis_pb2.PreviewAssignmentsRequest)
    assert (len(asked.draft.rules_policies), len(asked.draft.groups), asked.page_size) == (1, 1, 1)


def test_devices_and_users_are_named_up_to_a_limit(console: Console, server: FakeServer) -> None:
    answers(server, entry(1), entry(1, "alice"), entry(2))
    outcome = console.run("preview", "--delete", "rules-policy", "old", "--list", "--limit", "2")
    assert outcome.out.splitlines()[-3:] == [
        "DEVICE  USER   CHANGE  POLICY  KIND",
        "ws-1    -      GAINED  tools   rules",
        "ws-1    alice  GAINED  tools   rules",
    ]
    assert outcome.err == "there are more than 2; --limit 0 shows all of them\n"
    whole = console.run("preview", "--delete", "rules-policy", "old", "--list", "--limit", "0")
    assert (whole.out.splitlines()[-1].split()[0], whole.err) == ("ws-2", "")
    deleted = server.requests(analysis_pb2.PreviewAssignmentsRequest)[0].draft.deletions
    assert [(one.kind, one.name) for one in deleted] == [("ElevationRulesPolicy", "old")]


def test_a_group_may_be_deleted_too_and_nothing_that_is_no_matter_of_policy(
    console: Console, server: FakeServer
) -> None:
    answers(server)
    assert console.run("preview", "--delete", "group", "kiosks").code == 0
    (asked,) = server.requests(analysis_pb2.PreviewAssignmentsRequest)
    assert [(one.kind, one.name) for one in asked.draft.deletions] == [("Group", "kiosks")]
    assert console.run("preview", "--delete", "role", "Owner").code == 2


def test_json_names_devices_and_users_too(console: Console, server: FakeServer) -> None:
    answers(server, entry(1))
    found = console.run("preview", "--delete", "rules-policy", "old", "--output", "json").json
    assert (found["devicesAffected"], found["counts"][1]["devicesGained"]) == (3, 3)
    assert found["affected"] == [
        {
            "change": "GAINED",
            "policy": {"kind": "ElevationRulesPolicy", "name": "tools"},
            "device": "ws-1",
            "user": "",
        }
    ]


def test_that_nothing_happens_is_said(console: Console, server: FakeServer, tmp_path: Path) -> None:
    server.on(analysis_pb2.PreviewAssignmentsRequest, analysis_pb2.PreviewAssignmentsResponse())
    assert console.run("preview", "-f", write_documents(tmp_path / "draft", RULES)).out == (
        "nobody gains or loses anything\n"
    )
    nothing = console.run("preview")
    assert (nothing.code, nothing.err) == (
        2,
        "nothing would change; give documents with -f, or an object with --delete\n",
    )


def test_what_the_server_refuses_names_the_line(console: Console, server: FakeServer, tmp_path: Path) -> None:
    draft = write_documents(tmp_path / "draft", RULES)
    fault = Problem("draft.rules_policies[0].assignments.include[0].group", "is not there")
    server.on(analysis_pb2.PreviewAssignmentsRequest, InvalidError([fault]))
    outcome = console.run("preview", "-f", draft)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"{draft}:")
    assert outcome.err.endswith(": spec.assignments.include[0].group: is not there\n")


def test_a_device_that_counts_for_both_is_explained(console: Console, server: FakeServer) -> None:
    found = analysis_pb2.PreviewAssignmentsResponse(devices_affected=1, users_affected=2)
    found.counts.add(policy=TOOLS, devices_gained=1, devices_lost=1, users_gained=1, users_lost=1)
    server.on(analysis_pb2.PreviewAssignmentsRequest, found)
    outcome = console.run("preview", "--delete", "rules-policy", "old")
    assert outcome.err == (
        "a device gains and loses the same policy where some of its users gain it and others lose it; it counts for both\n"
    )
