"""`epm apply` writes what was planned, over what was planned against, and asks for no right to what stays."""

from collections.abc import Callable

import pytest

from epm.device.v1 import groups_pb2
from epm.elevation.v1 import settings_pb2
from epm.policy.v1 import analysis_pb2, lint_pb2, policies_pb2, revisions_pb2
from epm.rbac.v1 import rbac_pb2
from services._chassis.errors import (
    ConflictError,
    DeniedError,
    ServiceError,
    UnavailableError,
)
from tests.builders.console import Console
from tests.builders.documents import GROUP, RULES, SETTINGS, document, write_documents
from tests.builders.elevation import pem
from tests.fakes.server import Answer, FakeServer
from tests.unit.epmctl.test_plan import DEVELOPERS, FINDING, NOON, changed, holds, plan, writes


def test_a_kept_plan_is_applied_with_what_it_expects(console: Console, server: FakeServer) -> None:
    holds(server, changed(members=["carol"]))
    place = console.folder / "kept.plan"
    plan(console, GROUP, document("ScopeTag", "emea", "{}"), arguments=["-o", str(place)])
    (console.folder / "documents" / "documents.yaml").unlink()

    outcome = console.run("apply", "--plan", place, "--reason", "CHG-1")

    assert (outcome.code, outcome.err) == (0, "")
    (_, groups), (_, access) = (
        server.requests(groups_pb2.ApplyGroupsRequest)[-2:],
        server.requests(rbac_pb2.ApplyAccessRequest)[-2:],
    )
    assert [groups.validate_only, access.validate_only] == [False, False]
    assert [(one.kind, one.name, one.etag) for one in groups.expected] == [("Group", "developers", "g1")]
    assert [(one.kind, one.name, one.etag) for one in access.expected] == [("ScopeTag", "emea", "")]
    assert list(groups.groups[0].members) == ["alice", "bob"]
    assert server.reasons[-1] == "CHG-1"


def test_a_kept_plan_whose_objects_moved_on_is_not_applied(console: Console, server: FakeServer) -> None:
    holds(server, DEVELOPERS)
    place = console.folder / "kept.plan"
    plan(console, GROUP, arguments=["-o", str(place)])
    holds(server, changed(members=["carol"], etag="g2"))
    server.asked.clear()

    outcome = console.run("apply", "--plan", place)

    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.splitlines()[0] == 'Group "developers" has changed: since this was planned'
    assert server.requests(groups_pb2.ApplyGroupsRequest) == []


def test_a_kept_plan_that_broke_off_carries_on_where_it_was(console: Console, server: FakeServer) -> None:
    tag = rbac_pb2.ScopeTag(name="emea", etag="t1")
    place = console.folder / "kept.plan"
    plan(console, GROUP, document("ScopeTag", "emea", "{}"), arguments=["-o", str(place)])
    server.on(groups_pb2.ApplyGroupsRequest, _unless_checking(UnavailableError("the database is away")))
    broken = console.run("apply", "--plan", place)
    server.on(rbac_pb2.ListScopeTagsRequest, rbac_pb2.ListScopeTagsResponse(scope_tags=[tag]))
    server.on(groups_pb2.ApplyGroupsRequest, groups_pb2.ApplyGroupsResponse())

    server.asked.clear()
    again = console.run("apply", "--plan", place)

    assert (broken.code, again.code) == (1, 0)
    assert "applied: access; perhaps applied: groups; " in broken.err
    assert again.out.splitlines()[0] == "unchanged  ScopeTag emea"
    assert server.requests(rbac_pb2.ApplyAccessRequest) == []


def test_what_stays_as_it_is_needs_no_right_and_is_watched_where_others_change(
    console: Console, server: FakeServer
) -> None:
    holds(server, DEVELOPERS)
    tag = document("ScopeTag", "emea", "{}")
    held = rbac_pb2.ListScopeTagsResponse(scope_tags=[rbac_pb2.ScopeTag(name="emea", etag="t1")])
    server.on(rbac_pb2.ListScopeTagsRequest, held)
    server.on(groups_pb2.ApplyGroupsRequest, DeniedError("needs groups.update"))
    write_documents(console.folder / "documents", GROUP, SETTINGS, tag, document("ScopeTag", "apac", "{}"))

    outcome = console.run("apply", "-f", console.folder / "documents")

    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.splitlines() == [
        "unchanged  ScopeTag emea",
        "unchanged  Group developers",
    ]
    (access, _) = server.requests(rbac_pb2.ApplyAccessRequest)
    assert [one.name for one in access.scope_tags] == ["apac"]
    assert {(one.name, one.etag) for one in access.expected} == {("emea", "t1"), ("apac", "")}
    pending = [one.name for one in server.requests(policies_pb2.ApplyPoliciesRequest)[0].pending_groups]
    assert pending == ["developers"]


def test_whoever_may_write_nothing_can_apply_what_changes_nothing(console: Console, server: FakeServer) -> None:
    vendor = policies_pb2.ReusableCertificate(metadata=policies_pb2.Metadata(name="v", etag="9"), pem=pem("vendor"))
    held = policies_pb2.ListReusableCertificatesResponse(reusable_certificates=[vendor])
    server.on(policies_pb2.ListReusableCertificatesRequest, held)
    (console.folder / "documents").mkdir()
    exported = console.run("export", "-").out
    (console.folder / "documents" / "all.yaml").write_text(exported, encoding="utf-8")
    server.on(policies_pb2.ApplyPoliciesRequest, DeniedError("needs policy_authoring.update"))

    planned = console.run("plan", "-f", console.folder / "documents")
    applied = console.run("apply", "-f", console.folder / "documents")

    assert (planned.code, planned.err) == (0, "")
    assert (applied.code, applied.out) == (0, "unchanged  ReusableCertificate v\n")


def test_a_kept_plan_for_another_server_is_not_applied(console: Console, server: FakeServer) -> None:
    place = console.folder / "kept.plan"
    plan(console, GROUP, arguments=["-o", str(place)])
    server.asked.clear()
    console.monkeypatch.setenv("EPM_SERVER", server.address.replace("127.0.0.1", "localhost"))

    outcome = console.run("apply", "--plan", place)

    assert (outcome.code, server.asked) == (2, [])
    assert f"was made for {server.address}, not for localhost" in outcome.err


@pytest.mark.parametrize(
    "arguments", [[], ["--plan", "p", "-f", "x"], ["--plan", "p", "--prune"], ["-f", "x", "--prune"]]
)
def test_apply_takes_documents_or_a_plan(console: Console, arguments: list[str]) -> None:
    assert console.run("apply", *arguments).code == 2


def test_what_all_services_find_changed_is_named_before_anything_is_written(
    console: Console, server: FakeServer
) -> None:
    server.on(rbac_pb2.ApplyAccessRequest, ConflictError("ScopeTag moved", stale=True))
    server.on(policies_pb2.ApplyPoliciesRequest, ConflictError("policy moved", stale=True))
    write_documents(console.folder / "documents", SETTINGS, document("ScopeTag", "emea", "{}"))

    outcome = console.run("apply", "-f", console.folder / "documents")

    assert outcome.code == 1
    assert outcome.err.splitlines() == ["ScopeTag moved", "policy moved", "nothing was applied"]
    assert writes(server) == []


def test_an_apply_says_that_the_policies_are_as_code_now(console: Console, server: FakeServer) -> None:
    write_documents(console.folder / "documents", SETTINGS)
    console.run("apply", "-f", console.folder / "documents")
    assert [request.as_code for request in server.requests(policies_pb2.ApplyPoliciesRequest)] == [True, True]


def test_deletions_name_their_owner_and_what_is_expected(console: Console, server: FakeServer) -> None:
    about = policies_pb2.Metadata(name="old", etag="3", labels={"owner": "us"})
    old = policies_pb2.RulesPolicy(metadata=about, platform=1)  # type: ignore[arg-type]
    server.on(policies_pb2.ListRulesPoliciesRequest, policies_pb2.ListRulesPoliciesResponse(rules_policies=[old]))
    write_documents(console.folder / "documents", GROUP)

    console.run("apply", "-f", console.folder / "documents", "--prune", "--owner", "owner=us")

    request = server.requests(policies_pb2.ApplyPoliciesRequest)[-1]
    assert [(one.kind, one.name) for one in request.deletions] == [("ElevationRulesPolicy", "old")]
    assert (request.owner.key, request.owner.value, request.expected[0].etag) == ("owner", "us", "3")


def test_kinds_that_may_not_be_read_are_applied_all_the_same_and_named(console: Console, server: FakeServer) -> None:
    server.on(groups_pb2.ListGroupsRequest, DeniedError("needs groups.read"))
    write_documents(console.folder / "documents", GROUP)
    outcome = console.run("apply", "-f", console.folder / "documents")
    assert outcome.code == 0
    assert outcome.err.startswith("you may not read groups: ")
    assert [list(request.expected) for request in server.requests(groups_pb2.ApplyGroupsRequest)] == [[], []]


def test_an_apply_says_what_it_puts_back(console: Console, server: FakeServer) -> None:
    about = policies_pb2.Metadata(name="workstations", etag="9", change=9, applied_change=5)
    policy = policies_pb2.SettingsPolicy(metadata=about, settings=settings_pb2.ElevationSettings())
    held = policies_pb2.ListSettingsPoliciesResponse(settings_policies=[policy])
    server.on(policies_pb2.ListSettingsPoliciesRequest, held)
    base = policies_pb2.AuthoredObject(settings_policy=policy)
    server.on(revisions_pb2.GetRevisionRequest, revisions_pb2.GetRevisionResponse(object=base))
    revision = revisions_pb2.Revision(
        change=9, author="user:eve", time=NOON, action=revisions_pb2.REVISION_ACTION_UPDATED, reason="quick fix"
    )
    server.on(revisions_pb2.ListRevisionsRequest, revisions_pb2.ListRevisionsResponse(revisions=[revision]))
    write_documents(console.folder / "documents", SETTINGS)
    outcome = console.run("apply", "-f", console.folder / "documents")
    assert outcome.err == (
        "ElevationSettingsPolicy workstations: updated by hand since: user:eve, 2026-11-23T12:00:00Z (quick fix);"
        " the files put it back\n"
    )


def _unless_checking(error: ServiceError) -> Callable[[groups_pb2.ApplyGroupsRequest], Answer]:
    return lambda request: groups_pb2.ApplyGroupsResponse() if request.validate_only else error


@pytest.mark.parametrize("dry_run", [False, True])
def test_an_apply_tells_what_lint_finds_where_groups_change(
    console: Console, server: FakeServer, *, dry_run: bool
) -> None:
    server.streams(analysis_pb2.LintRequest, [analysis_pb2.LintResponse(findings=[FINDING])])
    told = policies_pb2.ApplyPoliciesResponse(findings=[FINDING, lint_pb2.Finding(id="L1", severity=4)])  # type: ignore[arg-type]
    server.on(policies_pb2.ApplyPoliciesRequest, told)
    write_documents(console.folder / "documents", GROUP, RULES)
    more = ["--dry-run"] if dry_run else []

    changing = console.run("apply", "-f", console.folder / "documents", *more, "--output", "json").json
    (asked,) = server.requests(analysis_pb2.LintRequest)
    holds(server, DEVELOPERS)
    same = console.run("apply", "-f", console.folder / "documents", *more)

    assert [finding["id"] for finding in changing["findings"]] == ["L1", "L7"]
    assert (asked.draft_only, [one.name for one in asked.draft.groups]) == (True, ["developers"])
    assert server.requests(analysis_pb2.LintRequest) == [asked]
    assert same.code == 0


def test_an_apply_of_groups_goes_on_where_lint_cannot_be_asked(console: Console, server: FakeServer) -> None:
    server.streams(analysis_pb2.LintRequest, [DeniedError("needs policy_authoring.read")])
    write_documents(console.folder / "documents", GROUP)
    outcome = console.run("apply", "-f", console.folder / "documents")
    assert outcome.code == 0
    assert outcome.err == "what lint finds is not known: not allowed: needs policy_authoring.read\n"
