"""`epm get` shows what the server holds: a table for people, JSON for programs, documents to apply again."""

from collections.abc import Sequence
from typing import Any

import pytest
import yaml
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from epm.device.v1 import devices_pb2, groups_pb2
from epm.elevation.v1 import document_pb2, rules_pb2, settings_pb2
from epm.policy.v1 import policies_pb2
from epm.rbac.v1 import rbac_pb2
from services._chassis.errors import NotFoundError, UnavailableError
from tests.builders.console import Console
from tests.builders.elevation import pem
from tests.fakes.server import FakeServer

NOON = Timestamp(seconds=1_795_435_200, nanos=250_000_000)
ROLES = [
    rbac_pb2.Role(name="Owner", rights=["roles.read", "tokens.read"], built_in=True),
    rbac_pb2.Role(name="Tier 2", description="Answers", rights=["elevation_requests.view"]),
]
METADATA = policies_pb2.Metadata(
    name="workstations",
    scope_tags=["default"],
    labels={"owner": "endpoint-team"},
    revision=7,
    etag="e7",
    created=NOON,
    updated=NOON,
    updated_by="user:owner",
)
SETTINGS = policies_pb2.SettingsPolicy(
    metadata=METADATA,
    settings=settings_pb2.ElevationSettings(
        enabled=True,
        default_response=settings_pb2.DEFAULT_RESPONSE_USER_CONFIRMED,
        validations=[rules_pb2.VALIDATION_AUTHENTICATION],
    ),
    assignments=policies_pb2.Assignments(
        include=[policies_pb2.IncludedGroup(group="all-devices")],
        exclude=[policies_pb2.ExcludedGroup(group="kiosks")],
    ),
)


def holds_roles(server: FakeServer) -> None:
    server.on(rbac_pb2.ListRolesRequest, rbac_pb2.ListRolesResponse(roles=ROLES))


def test_a_list_is_a_table_with_aligned_columns(console: Console, server: FakeServer) -> None:
    holds_roles(server)

    outcome = console.run("get", "roles")

    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.splitlines() == [
        "NAME    BUILT IN  RIGHTS  DESCRIPTION",
        "Owner   yes            2  -",
        "Tier 2  no             1  Answers",
    ]


def test_nothing_is_a_heading_and_an_empty_list(console: Console) -> None:
    assert console.run("get", "roles").out == "NAME  BUILT IN  RIGHTS  DESCRIPTION\n"
    assert console.run("get", "roles", "--output", "json").json == []


@pytest.mark.parametrize("word", ["roles", "role", "Role"])
def test_a_kind_goes_by_plural_singular_and_document(console: Console, server: FakeServer, word: str) -> None:
    holds_roles(server)

    assert len(console.run("get", word, "--output", "json").json) == 2


def test_an_unknown_kind_is_bad_input_that_lists_the_known(console: Console) -> None:
    outcome = console.run("get", "rolls")

    assert outcome.code == 2
    assert outcome.err.startswith("unknown kind 'rolls'; known kinds: settings-policies, rules-policies, certificates")


def test_every_page_is_fetched(console: Console, server: FakeServer) -> None:
    def page(request: rbac_pb2.ListTokensRequest) -> rbac_pb2.ListTokensResponse:
        number = int(request.page_token or 0)
        token = rbac_pb2.Token(token_id=f"t{number}", principal="user:owner", created=NOON)
        return rbac_pb2.ListTokensResponse(tokens=[token], next_page_token=str(number + 1) if number < 2 else "")

    server.on(rbac_pb2.ListTokensRequest, page)

    outcome = console.run("get", "tokens", "--output", "json")

    assert [token["tokenId"] for token in outcome.json] == ["t0", "t1", "t2"]
    assert [request.page_token for request in server.requests(rbac_pb2.ListTokensRequest)] == ["", "1", "2"]


def test_pages_of_policies_are_small_enough_for_a_message(console: Console, server: FakeServer) -> None:
    console.run("get", "rules-policies")
    console.run("get", "certificates")

    sizes = [request.page_size for request in server.requests(policies_pb2.ListRulesPoliciesRequest)]
    sizes += [request.page_size for request in server.requests(policies_pb2.ListReusableCertificatesRequest)]
    assert sizes == [25, 25]


def test_json_has_every_field_under_a_stable_name(console: Console, server: FakeServer) -> None:
    device = devices_pb2.Device(
        device_id="d1",
        name="ws-1",
        enrolment_state=devices_pb2.ENROLMENT_STATE_ENROLLED,
        epm_state=document_pb2.EPM_STATE_ACTIVE,
        os="windows",
        users=["alice"],
        enrolled=NOON,
    )
    server.on(devices_pb2.ListDevicesRequest, devices_pb2.ListDevicesResponse(devices=[device]))

    (shown,) = console.run("get", "devices", "--output", "json").json

    assert shown == {
        "deviceId": "d1",
        "name": "ws-1",
        "enrolmentState": "ENROLLED",
        "epmState": "ACTIVE",
        "os": "windows",
        "osVersion": "",
        "architecture": "",
        "agentVersion": "",
        "users": ["alice"],
        "reportedUsers": [],
        "tags": [],
        "ownership": None,
        "scopeTags": [],
        "enrolled": "2026-11-23T12:00:00.250Z",
        "lastCheckIn": None,
        "deprovisionTime": None,
        "etag": "",
        "epmStateReason": "",
        "certificateExpires": None,
        "suspectedClone": None,
        "quarantined": False,
        "groups": [],
        "attributes": [],
    }


def test_a_retired_device_has_no_epm_state(console: Console, server: FakeServer) -> None:
    device = devices_pb2.Device(name="ws-1", enrolment_state=devices_pb2.ENROLMENT_STATE_RETIRED)
    server.on(devices_pb2.ListDevicesRequest, devices_pb2.ListDevicesResponse(devices=[device]))

    heading, row = console.run("get", "devices").out.splitlines()
    (shown,) = console.run("get", "devices", "--output", "json").json

    assert row[heading.index("ENROLMENT") :].split()[:2] == ["RETIRED", "-"]
    assert shown["epmState"] is None


def test_a_policy_in_json_is_its_document_with_a_status(console: Console, server: FakeServer) -> None:
    answer = policies_pb2.GetSettingsPolicyResponse(settings_policy=SETTINGS)
    server.on(policies_pb2.GetSettingsPolicyRequest, answer)

    outcome = console.run("get", "settings-policy", "workstations", "--output", "json")

    assert server.requests(policies_pb2.GetSettingsPolicyRequest)[0].name == "workstations"
    assert outcome.json == {
        "apiVersion": "openepm/v1",
        "kind": "ElevationSettingsPolicy",
        "metadata": {"name": "workstations", "scopeTags": ["default"], "labels": {"owner": "endpoint-team"}},
        "spec": {
            "enabled": True,
            "defaultResponse": "USER_CONFIRMED",
            "validations": ["AUTHENTICATION"],
            "sendReportingData": False,
            "staleAfter": None,
            "assignments": {"include": [{"group": "all-devices"}], "exclude": [{"group": "kiosks"}]},
        },
        "status": {
            "revision": 7,
            "etag": "e7",
            "created": "2026-11-23T12:00:00.250Z",
            "updated": "2026-11-23T12:00:00.250Z",
            "updatedBy": "user:owner",
            "createdBy": "",
            "change": 0,
            "appliedChange": 0,
        },
    }


def test_one_by_name_is_a_document_to_apply(console: Console, server: FakeServer) -> None:
    answer = policies_pb2.GetSettingsPolicyResponse(settings_policy=SETTINGS)
    server.on(policies_pb2.GetSettingsPolicyRequest, answer)

    outcome = console.run("get", "settings-policy", "workstations")

    assert outcome.out.startswith(
        "# revision 7, changed 2026-11-23T12:00:00.250Z by user:owner\napiVersion: openepm/v1\n"
    )
    assert console.run("apply", "--dry-run", "-f", "-", stdin=outcome.out).code == 0
    (applied,) = server.requests(policies_pb2.ApplyPoliciesRequest)
    (policy,) = applied.settings_policies
    assert (policy.settings, policy.assignments) == (SETTINGS.settings, SETTINGS.assignments)
    assert policy.metadata.labels == METADATA.labels


def test_a_table_of_policies_says_whom_they_reach(console: Console, server: FakeServer) -> None:
    server.on(
        policies_pb2.ListSettingsPoliciesRequest,
        policies_pb2.ListSettingsPoliciesResponse(settings_policies=[SETTINGS]),
    )

    outcome = console.run("get", "settings-policies")

    heading, row = outcome.out.splitlines()
    assert row[heading.index("ASSIGNED TO") :].split("  ")[0] == "all-devices, not kiosks"
    assert row.endswith("  2026-11-23T12:00:00Z")


@pytest.mark.parametrize(
    "arguments",
    [("settings-policy", "nobody"), ("role", "nobody"), ("device-policy-state", "nobody"), ("token", "nobody")],
)
def test_what_is_not_there_is_told_the_same_way_for_every_kind(
    console: Console, server: FakeServer, arguments: Sequence[str]
) -> None:
    server.on(policies_pb2.GetSettingsPolicyRequest, NotFoundError("some words of the server"))

    outcome = console.run("get", *arguments)

    kind = {"settings-policy": "settings-policies"}.get(arguments[0], f"{arguments[0]}s")
    assert outcome.code == 1
    assert outcome.err == f"there is no {arguments[0]} 'nobody'; epm get {kind} lists those there are\n"


def test_another_failure_of_a_look_up_keeps_its_reason(console: Console, server: FakeServer) -> None:
    server.on(groups_pb2.GetGroupRequest, UnavailableError("access is not known yet"))

    outcome = console.run("get", "group", "developers")

    assert (outcome.code, outcome.err) == (1, "access is not known yet\n")


def test_yaml_leaves_out_what_cannot_be_applied_again(console: Console, server: FakeServer) -> None:
    holds_roles(server)

    outcome = console.run("get", "roles", "--output", "yaml")

    assert [document["metadata"]["name"] for document in yaml.safe_load_all(outcome.out)] == ["Tier 2"]
    assert outcome.err == "left out what is built in, which cannot be applied: 1\n"


def test_a_table_moves_no_cursor(console: Console, server: FakeServer) -> None:
    tag = rbac_pb2.ScopeTag(name="emea", description="\x1b[2J\n\u202egnitseretni")
    server.on(rbac_pb2.ListScopeTagsRequest, rbac_pb2.ListScopeTagsResponse(scope_tags=[tag]))

    outcome = console.run("get", "scope-tags")

    assert outcome.out.splitlines()[1] == "emea  \\x1b[2J\\n\\u202egnitseretni"


def test_wide_letters_keep_the_columns_straight(console: Console, server: FakeServer) -> None:
    tags = [rbac_pb2.ScopeTag(name="東京", description="a"), rbac_pb2.ScopeTag(name="emea", description="b")]
    server.on(rbac_pb2.ListScopeTagsRequest, rbac_pb2.ListScopeTagsResponse(scope_tags=tags))

    outcome = console.run("get", "scope-tags")

    assert outcome.out.splitlines() == ["NAME  DESCRIPTION", "東京  a", "emea  b"]


def test_a_newer_server_may_know_more_words(console: Console, server: FakeServer) -> None:
    group = groups_pb2.Group(name="odd", type=99)  # type: ignore[arg-type]
    server.on(groups_pb2.ListGroupsRequest, groups_pb2.ListGroupsResponse(groups=[group]))

    assert console.run("get", "groups").out.splitlines()[1].split() == ["odd", "99", "-", "-"]


def test_certificates_are_written_as_blocks_of_lines(console: Console, server: FakeServer) -> None:
    metadata = policies_pb2.Metadata(name="vendor")
    certificate = policies_pb2.ReusableCertificate(metadata=metadata, pem=pem("vendor"))
    answer = policies_pb2.GetReusableCertificateResponse(reusable_certificate=certificate)
    server.on(policies_pb2.GetReusableCertificateRequest, answer)

    outcome = console.run("get", "certificate", "vendor")

    assert "  pem: |\n    -----BEGIN CERTIFICATE-----\n" in outcome.out
    assert yaml.safe_load(outcome.out)["spec"]["pem"] == pem("vendor")


def test_accepted_findings_of_a_policy_are_written_as_documents_say_them(console: Console, server: FakeServer) -> None:
    accepted = rules_pb2.LintIgnore(finding="L18", reason="pilot")
    policy = policies_pb2.SettingsPolicy(metadata=METADATA, settings=SETTINGS.settings, lint_ignores=[accepted])
    certificate = policies_pb2.ReusableCertificate(metadata=METADATA, pem=pem("vendor"), lint_ignores=[accepted])
    server.on(policies_pb2.GetSettingsPolicyRequest, policies_pb2.GetSettingsPolicyResponse(settings_policy=policy))
    server.on(
        policies_pb2.GetReusableCertificateRequest,
        policies_pb2.GetReusableCertificateResponse(reusable_certificate=certificate),
    )

    for kind in ("settings-policy", "certificate"):
        (found,) = yaml.safe_load_all(console.run("get", kind, "workstations", "--output", "yaml").out)
        assert found["spec"]["lint"] == [{"ignore": "L18", "reason": "pilot"}]


@pytest.mark.parametrize(
    ("kind", "asked", "told"),
    [
        ("settings-policies", policies_pb2.ListSettingsPoliciesRequest, policies_pb2.ListSettingsPoliciesResponse()),
        ("rules-policies", policies_pb2.ListRulesPoliciesRequest, policies_pb2.ListRulesPoliciesResponse()),
        (
            "certificates",
            policies_pb2.ListReusableCertificatesRequest,
            policies_pb2.ListReusableCertificatesResponse(),
        ),
    ],
)
def test_a_filter_and_an_order_go_to_the_server(
    console: Console, server: FakeServer, kind: str, *, asked: type[Any], told: Message
) -> None:
    server.on(asked, told)

    console.run("get", kind, "--filter", 'label.owner = "team"', "--order-by", "updated desc")
    console.run("get", kind)

    narrowed, plain = server.requests(asked)
    assert (narrowed.filter, narrowed.order_by) == ('label.owner = "team"', "updated desc")
    assert (plain.filter, plain.order_by) == ("", "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["groups", "--filter", "name = a"],
            "groups cannot be filtered or ordered; that is for settings-policies, rules-policies",
        ),
        (["rules-policy", "tools", "--order-by", "name"], "--filter and --order-by go with a list"),
    ],
)
def test_what_cannot_be_filtered_is_refused(console: Console, arguments: Sequence[str], said: str) -> None:
    outcome = console.run("get", *arguments)

    assert outcome.code == 2
    assert outcome.err.startswith(said)


def test_the_facts_of_a_certificate_stand_beside_its_document(console: Console, server: FakeServer) -> None:
    certificate = policies_pb2.ReusableCertificate(
        metadata=policies_pb2.Metadata(name="vendor"), pem=pem("vendor"), subject="CN=Vendor", not_after=NOON
    )
    told = policies_pb2.ListReusableCertificatesResponse(reusable_certificates=[certificate])
    server.on(policies_pb2.ListReusableCertificatesRequest, told)

    (found,) = console.run("get", "certificates", "--output", "json").json
    assert found["status"]["subject"] == "CN=Vendor"
    assert "subject" not in found["spec"]
    assert "CN=Vendor" in console.run("get", "certificates").out
