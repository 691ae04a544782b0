"""Authored objects between the contract and the model: strict, and to the end."""

from dataclasses import replace
from datetime import timedelta

import pytest
from google.protobuf.message import Message

from elevation.model import (
    Assignments,
    FilterMode,
    GroupType,
    Include,
    Platform,
    ReportingScope,
    Rule,
    RulesPolicy,
    SettingsPolicy,
)
from epm.elevation.v1 import rules_pb2, settings_pb2
from epm.policy.v1 import policies_pb2
from services._chassis.errors import Problem
from services.policy.codec.applications import application_from_proto
from services.policy.codec.authored import certificate_to_proto, rules_policy_to_proto, settings_policy_to_proto
from services.policy.codec.drafts import (
    assignments_from_proto,
    certificate_from_proto,
    rules_policy_from_proto,
    settings_policy_from_proto,
)
from services.policy.codec.kept import from_bytes, to_bytes
from services.policy.model.application import PendingGroup
from services.policy.model.drafts import Known, check_draft
from services.policy.model.objects import AnyContent
from tests.builders.policy import included, reusable, rule, rules_policy, settings_policy, stored

UNKNOWN_FIELD = b"\xf8\x06\x01"
"""Field 111, a number, in the bytes of any message."""


def with_unknown_field(message: Message) -> None:
    message.MergeFromString(UNKNOWN_FIELD)


def fields(problems: list[Problem] | tuple[Problem, ...]) -> list[str]:
    return [problem.field for problem in problems]


def all_problems(message: policies_pb2.RulesPolicy) -> list[str]:
    return fields(list(check_draft(rules_policy_from_proto(message), Known())))


@pytest.mark.parametrize(
    "content",
    [
        settings_policy(stale_after=None, assignments=included("laptops", excluding=["kiosks"])),
        settings_policy(send_reporting_data=False, reporting_scope=None, stale_after=timedelta(days=1)),
        rules_policy("tools", rule("a"), rule("b", reusable="vendor")),
        RulesPolicy("bare", Platform.LINUX, (Rule("r", arguments=()), Rule("s"))),
        reusable(),
    ],
    ids=repr,
)
def test_content_survives_being_kept(content: AnyContent) -> None:
    assert from_bytes(type(content), to_bytes(content)) == content


def test_what_is_sent_back_as_it_was_read_is_the_same() -> None:
    item = stored(rules_policy("tools", rule("a", reusable="vendor"), assignments=included("developers")), "emea")
    draft = rules_policy_from_proto(rules_policy_to_proto(item.content, item.about))
    assert (draft.content, draft.scope_tags, draft.labels, draft.etag) == (
        item.content,
        item.about.scope_tags,
        item.about.labels,
        item.about.etag,
    )
    assert draft.flaws == ()


def test_a_filter_keeps_its_mode() -> None:
    include = (Include("a", 'os = "linux"', FilterMode.EXCLUDE), Include("b", 'os = "linux"'), Include("c"))
    policy = settings_policy(assignments=Assignments(include))
    message = settings_policy_to_proto(policy)
    assert [target.filter_mode for target in message.assignments.include] == [
        policies_pb2.FILTER_MODE_EXCLUDE,
        policies_pb2.FILTER_MODE_INCLUDE,
        policies_pb2.FILTER_MODE_UNSPECIFIED,
    ]
    assert settings_policy_from_proto(message).content == policy


def test_a_filter_without_a_mode_includes() -> None:
    message = settings_policy_to_proto(settings_policy(assignments=Assignments((Include("a", "os = x"),))))
    message.assignments.include[0].filter_mode = policies_pb2.FILTER_MODE_UNSPECIFIED
    assert settings_policy_from_proto(message).content.assignments.include[0].filter_mode is FilterMode.INCLUDE


def test_a_mode_that_would_exclude_by_no_filter_is_refused() -> None:
    message = settings_policy_to_proto(settings_policy(assignments=included("a")))
    message.assignments.include[0].filter_mode = policies_pb2.FILTER_MODE_EXCLUDE
    assert fields(settings_policy_from_proto(message).flaws) == ["assignments.include[0].filter_mode"]


def test_an_empty_settings_policy_says_what_is_missing() -> None:
    assert fields(settings_policy_from_proto(policies_pb2.SettingsPolicy()).flaws) == ["settings"]


def test_settings_say_what_the_contract_wants_said() -> None:
    settings = settings_pb2.ElevationSettings(send_reporting_data=True, validations=[rules_pb2.VALIDATION_UNSPECIFIED])
    settings.stale_after.seconds = 10**13
    draft = settings_policy_from_proto(policies_pb2.SettingsPolicy(settings=settings))
    assert fields(draft.flaws) == [
        "settings.default_response",
        "settings.reporting_scope",
        "settings.validations[0]",
        "settings.stale_after",
    ]


@pytest.mark.parametrize(("seconds", "nanos"), [(10**12, 0), (-(10**12), 0), (1, -1), (-1, 1), (0, 10**9)])
def test_a_span_that_no_duration_has_is_refused(seconds: int, nanos: int) -> None:
    message = settings_policy_to_proto(settings_policy())
    message.settings.stale_after.seconds = seconds
    message.settings.stale_after.nanos = nanos
    assert fields(settings_policy_from_proto(message).flaws) == ["settings.stale_after"]


def test_a_scope_that_the_policy_leaves_open_is_sent_as_all() -> None:
    message = settings_policy_to_proto(SettingsPolicy("open"))
    assert message.settings.reporting_scope == settings_pb2.REPORTING_SCOPE_ALL
    assert settings_policy_from_proto(message).content.reporting_scope is ReportingScope.ALL


def test_absent_stale_after_is_never() -> None:
    message = settings_policy_to_proto(settings_policy(stale_after=None))
    assert not message.settings.HasField("stale_after")
    assert settings_policy_from_proto(message).content.stale_after is None


def test_a_flaw_is_said_once_and_hides_no_other() -> None:
    message = rules_policy_to_proto(rules_policy("tools", rule("a"), rule("b")))
    first, second = message.rules
    first.elevation_type = rules_pb2.ELEVATION_TYPE_UNSPECIFIED
    first.detection.file_hash = "xyz"
    second.detection.certificate.pem = "no certificate"
    second.detection.certificate.type = rules_pb2.CERTIFICATE_TYPE_UNSPECIFIED
    second.name = ""
    assert all_problems(message) == [
        "rules_policy.rules[0].elevation_type",
        "rules_policy.rules[1].detection.certificate.pem",
        "rules_policy.rules[0].detection.file_hash",
        "rules_policy.rules[1].name",
        "rules_policy.rules[1].detection.certificate.type",
    ]


def test_without_a_platform_the_rules_are_read_and_not_judged() -> None:
    message = rules_policy_to_proto(rules_policy("", rule("a")))
    message.platform = rules_pb2.PLATFORM_UNSPECIFIED
    message.rules[0].elevation_type = rules_pb2.ELEVATION_TYPE_UNSPECIFIED
    message.rules[0].detection.file_path = "/not/on/windows"
    assert all_problems(message) == [
        "rules_policy.platform",
        "rules_policy.rules[0].elevation_type",
        "rules_policy.metadata.name",
    ]


def test_unknown_fields_and_words_are_refused_at_every_depth() -> None:
    message = rules_policy_to_proto(rules_policy("tools", rule("a")))
    with_unknown_field(message)
    with_unknown_field(message.rules[0].detection)
    message.rules[0].child_processes = 77  # type: ignore[assignment]
    message.rules[0].validations.append(88)  # type: ignore[arg-type]
    message.rules[0].detection.certificate.type = 99  # type: ignore[assignment]
    assert all_problems(message) == [
        "rules_policy",
        "rules_policy.rules[0].validations[1]",
        "rules_policy.rules[0].child_processes",
        "rules_policy.rules[0].detection",
        "rules_policy.rules[0].detection.certificate.type",
    ]


def test_an_unknown_platform_is_named_once() -> None:
    message = rules_policy_to_proto(rules_policy())
    message.platform = 9  # type: ignore[assignment]
    assert all_problems(message) == ["rules_policy.platform"]


def test_an_unreadable_certificate_has_its_other_problems_too() -> None:
    message = certificate_to_proto(reusable(""))
    message.pem = "nothing"
    draft = certificate_from_proto(message)
    assert fields(list(check_draft(draft, Known()))) == [
        "reusable_certificate.pem",
        "reusable_certificate.metadata.name",
    ]


def test_new_assignments_are_read_strictly() -> None:
    request = policies_pb2.AssignRulesPolicyRequest(name="tools", etag="3")
    target = request.assignments.include.add(group="laptops")
    with_unknown_field(target)
    new = assignments_from_proto(request)
    assert (new.name, new.etag, new.assignments) == ("tools", "3", included("laptops"))
    assert fields(new.flaws) == ["assignments.include[0]"]


def test_a_request_to_apply_names_the_place_of_each_object() -> None:
    request = policies_pb2.ApplyPoliciesRequest(
        reusable_certificates=[certificate_to_proto(reusable())],
        settings_policies=[
            settings_policy_to_proto(settings_policy("a")),
            settings_policy_to_proto(settings_policy("b")),
        ],
        rules_policies=[rules_policy_to_proto(rules_policy())],
        validate_only=True,
        pending_groups=[
            policies_pb2.PendingGroup(name="d", type=policies_pb2.PENDING_GROUP_TYPE_DEVICE),
            policies_pb2.PendingGroup(name="u", type=policies_pb2.PENDING_GROUP_TYPE_USER),
            policies_pb2.PendingGroup(name="?"),
        ],
        directory_revision=9,
    )
    application = application_from_proto(request)
    assert [(draft.place, draft.content) for draft in application.drafts] == [
        ("reusable_certificates[0]", reusable()),
        ("settings_policies[0]", settings_policy("a")),
        ("settings_policies[1]", settings_policy("b")),
        ("rules_policies[0]", rules_policy()),
    ]
    assert application.pending_groups == [
        PendingGroup("d", GroupType.DEVICE),
        PendingGroup("u", GroupType.USER),
        PendingGroup("?", None),
    ]
    assert application.directory_revision == 9


def test_a_policy_written_by_a_newer_version_is_not_read() -> None:
    message = rules_policy_to_proto(rules_policy())
    with_unknown_field(message.rules[0])
    with pytest.raises(ValueError, match="newer version"):
        from_bytes(RulesPolicy, message.SerializeToString())


def test_labels_and_tags_come_with_the_draft() -> None:
    item = stored(settings_policy(), "b", "a")
    message = settings_policy_to_proto(item.content, replace(item.about, labels={"k": "v"}))
    assert list(message.metadata.scope_tags) == ["a", "b"]
    draft = settings_policy_from_proto(message, "settings_policies[4]")
    assert (draft.place, draft.labels, draft.scope_tags) == ("settings_policies[4]", {"k": "v"}, frozenset("ab"))
