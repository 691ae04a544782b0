"""Two states of an object differ in fields as documents spell them, rule by rule."""

from dataclasses import replace
from datetime import timedelta

import pytest

from elevation.model import FilterMode, Include, LintIgnore, Validation
from services.policy.model.difference import differences
from services.policy.model.objects import AnyContent, Stored
from tests.builders.elevation import HASH, certificate, pem
from tests.builders.policy import included, reusable, rule, rules_policy, settings_policy, stored


def told(before: Stored[AnyContent] | None, after: Stored[AnyContent]) -> list[tuple[str, str, str, str, str]]:
    found = differences(before, after)
    return [(change.kind.value, change.rule, change.field, change.before, change.after) for change in found]


def between(before: AnyContent, after: AnyContent) -> list[tuple[str, str, str, str, str]]:
    return told(stored(before), stored(after))


def test_a_state_does_not_differ_from_itself() -> None:
    for content in (settings_policy(), rules_policy(), reusable()):
        assert between(content, content) == []


def test_fields_of_the_object_stand_below_spec_and_metadata() -> None:
    before = settings_policy(stale_after=timedelta(days=30))
    after = settings_policy(enabled=False, stale_after=None, description="told", lint=(LintIgnore("L18", "meant"),))
    assert between(before, after) == [
        ("added", "", "metadata.description", "", '"told"'),
        ("changed", "", "enabled", "true", "false"),
        ("changed", "", "staleAfter", '"P30D"', "null"),
        ("added", "", "lint", "", '{"ignore":"L18","reason":"meant"}'),
    ]


def test_labels_and_scope_tags_are_told_one_by_one() -> None:
    before, after = stored(reusable(), "emea", "apac"), stored(reusable(), "apac", "africa")
    after = replace(after, about=replace(after.about, labels={"owner": "", "squad": "x"}))
    assert told(before, after) == [
        ("removed", "", "metadata.scopeTags", '"emea"', ""),
        ("added", "", "metadata.scopeTags", "", '"africa"'),
        ("changed", "", 'metadata.labels["owner"]', '"team"', '""'),
        ("added", "", 'metadata.labels["squad"]', "", '"x"'),
    ]


def test_a_certificate_is_told_as_pem() -> None:
    ((kind, _, field, before, after),) = between(reusable(), reusable(pem="vendor-renewed"))
    assert (kind, field) == ("changed", "pem")
    assert (before[:28], after[:28]) == ('"-----BEGIN CERTIFICATE-----',) * 2
    assert before != after


def test_rules_are_told_by_name_after_the_object_s_own_fields_and_in_no_order() -> None:
    first, second, third = rule("a"), rule("b"), rule("c")
    changed = replace(second, detection=replace(second.detection, file_hash="", product_name="Setup"))
    before = rules_policy("tools", first, second, third)
    after = rules_policy("tools", third, changed, description="x")
    assert between(before, rules_policy("tools", third, second, first)) == []
    found = between(before, after)
    assert [(kind, rule_name, field) for kind, rule_name, field, _, _ in found] == [
        ("added", "", "metadata.description"),
        ("removed", "a", ""),
        ("removed", "b", "detection.fileHash"),
        ("added", "b", "detection.productName"),
    ]
    assert found[1][3].startswith('{"arguments":["/silent",""],"childProcesses":"REQUIRE_RULE"')
    assert found[2][3:] == (f'"{HASH}"', "")


def test_a_rule_under_another_name_is_another_rule() -> None:
    found = between(rules_policy("tools", rule("a")), rules_policy("tools", rule("b")))
    assert [change[:3] for change in found] == [("removed", "a", ""), ("added", "b", "")]


def test_entries_of_lists_are_told_by_their_values() -> None:
    before = replace(rule(), arguments=("/silent", "/log"), validations=frozenset({Validation.AUTHENTICATION}))
    after = replace(rule(), arguments=("/log", "/quiet"), validations=frozenset(), lint=())
    assert between(rules_policy("tools", before), rules_policy("tools", after)) == [
        ("removed", "setup", "validations", '"AUTHENTICATION"', ""),
        ("removed", "setup", "arguments", '"/silent"', ""),
        ("added", "setup", "arguments", "", '"/quiet"'),
        ("removed", "setup", "lint", '{"ignore":"L7","reason":"many paths"}', ""),
    ]


@pytest.mark.parametrize(("first", "second"), [(None, ()), ((), None), (None, ("/silent",))])
def test_a_list_of_arguments_that_is_not_there_is_not_an_empty_one(
    first: tuple[str, ...] | None, second: tuple[str, ...] | None
) -> None:
    before, after = (rules_policy("tools", replace(rule(), arguments=each)) for each in (first, second))
    ((kind, name, field, _, _),) = between(before, after)
    assert (kind, name, field) == ("removed" if second is None else "added", "setup", "arguments")


def test_a_condition_is_told_whole_where_it_comes_and_field_by_field_where_it_changes() -> None:
    named, bare = rule(reusable="vendor"), rule()
    without = replace(bare, detection=replace(bare.detection, certificate=None))
    assert between(rules_policy("t", without), rules_policy("t", named)) == [
        ("added", "setup", "detection.certificate", "", '{"reusable":"vendor","type":"PUBLISHER"}')
    ]
    assert [change[:3] for change in between(rules_policy("t", named), rules_policy("t", bare))] == [
        ("removed", "setup", "detection.certificate.reusable"),
        ("added", "setup", "detection.certificate.pem"),
    ]
    assert pem("vendor").startswith("-----BEGIN")
    assert certificate("vendor") == reusable().certificate


def test_assignments_are_told_entry_by_entry() -> None:
    before = settings_policy(assignments=included("laptops", "developers", excluding=["kiosks"]))
    narrowed = Include("laptops", 'os = "linux"', FilterMode.EXCLUDE)
    after = replace(before, assignments=replace(before.assignments, include=(before.assignments.include[1], narrowed)))
    assert between(before, after) == [
        ("removed", "", "assignments.include", '{"group":"laptops"}', ""),
        (
            "added",
            "",
            "assignments.include",
            "",
            '{"filter":"os = \\"linux\\"","filterMode":"EXCLUDE","group":"laptops"}',
        ),
    ]


def test_where_nothing_was_everything_is_new() -> None:
    found = told(None, stored(rules_policy()))
    assert {change[0] for change in found} == {"added"}
    assert [change[1:3] for change in found] == [
        ("", "metadata.scopeTags"),
        ("", 'metadata.labels["owner"]'),
        ("", "platform"),
        ("", "assignments"),
        ("", "lint"),
        ("setup", ""),
    ]
