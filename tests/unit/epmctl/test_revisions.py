"""The commands around revisions ask before they change something, and are bound to what they showed."""

import json
from collections.abc import Sequence

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from epm.elevation.v1 import settings_pb2
from epm.policy.v1 import lint_pb2, policies_pb2, revisions_pb2
from services._chassis.errors import ConflictError, NotFoundError, StateError
from tests.builders.console import Console
from tests.builders.elevation import pem
from tests.fakes.server import FakeServer

NOON = Timestamp(seconds=1_795_435_200)
FINDING = lint_pb2.Finding(
    id="L18", severity=lint_pb2.SEVERITY_WARNING, kind="ElevationSettingsPolicy", name="on", message="m"
)
ROLLBACK = ("revisions", "rollback", "settings-policy", "on", "3")


def policy(*, enabled: bool = True, change: int = 9, etag: str = "e9") -> policies_pb2.SettingsPolicy:
    return policies_pb2.SettingsPolicy(
        metadata=policies_pb2.Metadata(name="on", etag=etag, change=change),
        settings=settings_pb2.ElevationSettings(enabled=enabled),
    )


def revision(change: int, **fields: object) -> revisions_pb2.Revision:
    given = {"action": revisions_pb2.REVISION_ACTION_UPDATED, "author": "user:ann", "time": NOON, **fields}
    return revisions_pb2.Revision(change=change, **given)  # type: ignore[arg-type]


def holds(server: FakeServer, live: policies_pb2.SettingsPolicy | None, then: policies_pb2.SettingsPolicy) -> None:
    """Say what there is now, and what a rollback leads to."""
    found = policies_pb2.GetSettingsPolicyResponse(settings_policy=live) if live else NotFoundError("there is none")
    server.on(policies_pb2.GetSettingsPolicyRequest, found)
    server.on(
        revisions_pb2.RollBackRequest,
        revisions_pb2.RollBackResponse(object=policies_pb2.AuthoredObject(settings_policy=then), findings=[FINDING]),
    )


def rollbacks(server: FakeServer) -> list[tuple[bool, str]]:
    return [(asked.validate_only, asked.etag) for asked in server.requests(revisions_pb2.RollBackRequest)]


def test_the_list_tells_who_why_and_how(console: Console, server: FakeServer) -> None:
    told: Sequence[revisions_pb2.Revision] = [revision(9, reason="INC-1", rolled_back_to=3), revision(3, as_code=True)]
    server.on(revisions_pb2.ListRevisionsRequest, revisions_pb2.ListRevisionsResponse(revisions=told))
    outcome = console.run("revisions", "list", "settings-policy", "on", "--limit", "1")
    head, row = outcome.out.splitlines()
    assert head.split() == [
        "CHANGE",
        "TIME",
        "ACTION",
        "AUTHOR",
        "REVISION",
        "AS",
        "CODE",
        "ROLLED",
        "BACK",
        "TO",
        "REASON",
    ]
    assert row.split() == ["9", "2026-11-23T12:00:00Z", "UPDATED", "user:ann", "-", "no", "3", "INC-1"]
    assert outcome.err == "there are more than 1; --limit 0 shows all of them\n"
    asked = server.requests(revisions_pb2.ListRevisionsRequest)[0]
    assert (asked.object.kind, asked.object.name) == ("ElevationSettingsPolicy", "on")


def test_a_state_is_shown_as_a_document(console: Console, server: FakeServer) -> None:
    held = policies_pb2.AuthoredObject(settings_policy=policy(etag=""))
    server.on(revisions_pb2.GetRevisionRequest, revisions_pb2.GetRevisionResponse(revision=revision(3), object=held))
    outcome = console.run("revisions", "show", "settings-policy", "on", "3")
    assert outcome.out.startswith("# change 3, updated 2026-11-23T12:00:00Z by user:ann\napiVersion: openepm/v1\n")
    shown = console.run("revisions", "show", "settings-policy", "on", "3", "--output", "json").json
    assert (shown["revision"]["change"], shown["object"]["metadata"]["name"]) == (3, "on")


def test_a_difference_names_rules_and_fields(console: Console, server: FakeServer) -> None:
    changes = [
        revisions_pb2.FieldChange(
            kind=revisions_pb2.FIELD_CHANGE_KIND_CHANGED,
            rule="r",
            field="elevationType",
            before='"DENY"',
            after='"AUTOMATIC"',
        ),
        revisions_pb2.FieldChange(kind=revisions_pb2.FIELD_CHANGE_KIND_REMOVED, rule="q", before='{"name": "q"}'),
    ]
    answer = revisions_pb2.DiffRevisionsResponse(to=revision(9), changes=changes)
    getattr(answer, "from").CopyFrom(revision(3))
    server.on(revisions_pb2.DiffRevisionsRequest, answer)
    lines = console.run("revisions", "diff", "settings-policy", "on", "9", "--from", "3").out.splitlines()
    assert [line.split(",")[0] for line in lines[:2]] == ["from change 3", "to change 9"]
    assert lines[2] == '    ~ rules[r].elevationType: "DENY" -> "AUTOMATIC"'
    assert lines[3].startswith("    - rules[q]")
    (asked,) = server.requests(revisions_pb2.DiffRevisionsRequest)
    assert (getattr(asked, "from"), asked.to) == (3, 9)
    told = console.run("revisions", "diff", "settings-policy", "on", "--output", "json").json
    assert told["changes"][1] == {"rule": "q", "field": "", "action": "REMOVED", "before": {"name": "q"}, "after": None}


def test_a_rollback_shows_what_it_changes_asks_and_is_bound_to_what_it_showed(
    console: Console, server: FakeServer
) -> None:
    holds(server, policy(enabled=True), policy(enabled=False, change=10))
    outcome = console.run(*ROLLBACK, "--reason", "INC-1", stdin="y\n")
    assert (outcome.code, rollbacks(server)) == (0, [(True, "e9"), (False, "e9")])
    assert "~ enabled: true -> false" in outcome.out
    assert "warning L18" in outcome.out
    assert outcome.out.endswith("ElevationSettingsPolicy on is as change 3 left it, by change 10\n")
    assert server.reasons[-1] == "INC-1"


@pytest.mark.parametrize(("answer", "code"), [("n\n", 1), ("\n", 1), ("", 2)])
def test_a_rollback_that_nobody_confirms_is_none(console: Console, server: FakeServer, answer: str, code: int) -> None:
    holds(server, policy(enabled=True), policy(enabled=False))
    assert console.run(*ROLLBACK, stdin=answer).code == code
    assert rollbacks(server) == [(True, "e9")]


def test_a_rollback_to_what_is_there_does_nothing(console: Console, server: FakeServer) -> None:
    holds(server, policy(), policy())
    outcome = console.run(*ROLLBACK)
    assert (outcome.code, rollbacks(server)) == (0, [(True, "e9")])
    assert outcome.err.endswith("is as change 3 left it; nothing to do\n")


def test_what_was_deleted_comes_back(console: Console, server: FakeServer) -> None:
    holds(server, None, policy(change=10))
    outcome = console.run(*ROLLBACK, "--yes", "--with-assignments", "--output", "json")
    assert (outcome.json["rolledBack"], outcome.json["change"], rollbacks(server)) == (
        True,
        10,
        [(True, ""), (False, "")],
    )
    assert all(asked.with_assignments for asked in server.requests(revisions_pb2.RollBackRequest))


def test_an_object_that_somebody_changed_meanwhile_stays(console: Console, server: FakeServer) -> None:
    holds(server, policy(), policy(enabled=False))
    server.on(
        policies_pb2.DeleteSettingsPolicyRequest, ConflictError("the etag is stale: now e10", reason="STALE_ETAG")
    )
    outcome = console.run("delete", "settings-policy", "on", "--yes")
    assert (outcome.code, outcome.out, "stale" in outcome.err) == (1, "", True)
    (asked,) = server.requests(policies_pb2.DeleteSettingsPolicyRequest)
    assert (asked.name, asked.etag) == ("on", "e9")


@pytest.mark.parametrize("stdin", ["n\n", ""])
def test_nothing_is_deleted_that_nobody_confirms(console: Console, server: FakeServer, stdin: str) -> None:
    holds(server, policy(), policy())
    assert console.run("delete", "settings-policy", "on", stdin=stdin).code != 0
    assert server.requests(policies_pb2.DeleteSettingsPolicyRequest) == []


def test_the_rules_that_hold_a_certificate_are_told(console: Console, server: FakeServer) -> None:
    held = policies_pb2.ReusableCertificate(metadata=policies_pb2.Metadata(name="v", etag="e1"), pem=pem("vendor"))
    server.on(
        policies_pb2.GetReusableCertificateRequest,
        policies_pb2.GetReusableCertificateResponse(reusable_certificate=held),
    )
    told = 'the reusable certificate "v" is named by tools/setup; change those rules first'
    server.on(policies_pb2.DeleteReusableCertificateRequest, StateError(told, reason="CERTIFICATE_IN_USE"))
    outcome = console.run("delete", "certificate", "v", "--yes")
    assert (outcome.code, outcome.err.strip()) == (1, told)


def test_a_copy_is_told_with_what_lint_finds(console: Console, server: FakeServer) -> None:
    made = policies_pb2.AuthoredObject(settings_policy=policy())
    server.on(
        policies_pb2.DuplicateObjectRequest, policies_pb2.DuplicateObjectResponse(object=made, findings=[FINDING])
    )
    outcome = console.run("duplicate", "ElevationSettingsPolicy", "on", "on-2", "--reason", "pilot")
    assert outcome.out.startswith("created  ElevationSettingsPolicy on-2, assigned to nobody\nwarning L18")
    (asked,) = server.requests(policies_pb2.DuplicateObjectRequest)
    assert (asked.original.kind, asked.original.name, asked.new_name) == ("ElevationSettingsPolicy", "on", "on-2")
    assert json.loads(console.run("duplicate", "settings-policy", "on", "x", "--output", "json").out)["findings"]


@pytest.mark.parametrize(
    "command", [("revisions", "list"), ("revisions", "show"), ("revisions", "diff"), ("duplicate",)]
)
def test_only_policies_and_certificates_have_revisions_and_copies(console: Console, command: tuple[str, ...]) -> None:
    more = ("new",) if command == ("duplicate",) else ()
    outcome = console.run(*command, "role", "Owner", *more)
    assert (outcome.code, outcome.err.startswith("roles have no revisions and no copies; those that do: ")) == (2, True)


@pytest.mark.parametrize("output", ["table", "json"])
def test_the_difference_of_a_deletion_is_all_that_was_deleted(
    console: Console, server: FakeServer, output: str
) -> None:
    gone = revision(9, action=revisions_pb2.REVISION_ACTION_DELETED)
    server.on(revisions_pb2.DiffRevisionsRequest, revisions_pb2.DiffRevisionsResponse(to=gone))
    held = policies_pb2.AuthoredObject(settings_policy=policy(enabled=True))
    server.on(revisions_pb2.GetRevisionRequest, revisions_pb2.GetRevisionResponse(revision=gone, object=held))
    told = console.run("revisions", "diff", "settings-policy", "on", "--output", output)
    if output == "json":
        assert {"rule": "", "field": "enabled", "action": "REMOVED", "before": True, "after": None} in told.json[
            "changes"
        ]
    else:
        assert "    - enabled: true" in told.out.splitlines()
        assert "no field differs" not in told.out
    assert server.requests(revisions_pb2.GetRevisionRequest)[0].change == 9
