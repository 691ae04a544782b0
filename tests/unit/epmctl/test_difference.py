"""Documents are told apart by meaning, and three of them tell who made the difference."""

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epmctl.ascode.difference import ORDER, Cause, FieldAction, FieldChange, differences

Document = dict[str, Any]
ADDED, CHANGED, REMOVED = FieldAction.ADDED, FieldAction.CHANGED, FieldAction.REMOVED


def rule(name: str, **values: Any) -> Document:
    return {"name": name, "elevationType": "DENY", "detection": {"fileName": f"{name}.exe"}, **values}


def policy(*rules: Document, **metadata: Any) -> Document:
    return {
        "apiVersion": "openepm/v1",
        "kind": "ElevationRulesPolicy",
        "metadata": {"name": "p", **metadata},
        "spec": {"platform": "WINDOWS", "rules": list(rules)},
    }


def group(*members: str) -> Document:
    return {"kind": "Group", "metadata": {"name": "g"}, "spec": {"type": "USER", "members": list(members)}}


def told(changes: list[FieldChange]) -> list[tuple[str, str, FieldAction, Any, Any]]:
    return [(one.rule, one.field, one.action, one.before, one.after) for one in changes]


@given(st.lists(st.sampled_from("abcdef"), unique=True), st.dictionaries(st.text(), st.text()))
def test_a_document_does_not_differ_from_itself(names: list[str], labels: dict[str, str]) -> None:
    document = policy(*map(rule, names), labels=labels)
    assert differences(document, deepcopy(document)) == []


def test_a_field_of_a_rule_is_one_change_by_the_name_of_the_rule() -> None:
    before, after = policy(rule("a"), rule("b")), policy(rule("b", elevationType="AUTOMATIC"), rule("a"))
    assert told(differences(before, after)) == [("b", "elevationType", CHANGED, "DENY", "AUTOMATIC")]


def test_a_rule_that_is_new_or_gone_is_one_change_with_all_that_it_says() -> None:
    changes = differences(policy(rule("a")), policy(rule("b", arguments=["/x", "/y"])))
    says = {"elevationType": "DENY", "detection.fileName": "b.exe", "arguments": ["/x", "/y"]}
    assert told(changes)[1] == ("b", "", ADDED, None, says)
    assert (changes[0].rule, changes[0].field, changes[0].action) == ("a", "", REMOVED)


def test_entries_of_lists_are_known_by_their_value() -> None:
    assert told(differences(group("a", "b"), group("b", "c"))) == [
        ("", "members", REMOVED, "a", None),
        ("", "members", ADDED, None, "c"),
    ]


def test_an_empty_list_is_not_the_same_as_none() -> None:
    assert told(differences(policy(rule("a")), policy(rule("a", arguments=[])))) == [
        ("a", "arguments", ADDED, None, [])
    ]


def test_labels_are_known_by_their_key_whatever_is_in_it() -> None:
    changes = differences(policy(labels={"a.b": "1"}), policy(labels={"a.b": "2", 'c"': "3"}))
    assert told(changes) == [
        ("", 'metadata.labels["a.b"]', CHANGED, "1", "2"),
        ("", 'metadata.labels["c\\""]', ADDED, None, "3"),
    ]


def test_null_is_a_value() -> None:
    before, after = (
        {"metadata": {"name": "p"}, "spec": spec} for spec in ({"staleAfter": "P1D"}, {"staleAfter": None})
    )
    assert told(differences(before, after)) == [("", "staleAfter", CHANGED, "P1D", None)]
    assert told(differences({**after, "spec": {}}, after)) == [("", "staleAfter", ADDED, None, None)]


def test_another_order_is_a_difference_that_is_named() -> None:
    assert told(differences(policy(rule("a"), rule("b")), policy(rule("b"), rule("a")))) == [
        ("", ORDER, CHANGED, None, None)
    ]


def test_of_what_is_new_everything_is_told() -> None:
    assert told(differences(None, group("a"))) == [("", "type", ADDED, None, "USER"), ("", "members", ADDED, None, "a")]


@pytest.mark.parametrize(
    ("base", "files", "live", "causes"),
    [
        ("1", "2", "1", [Cause.FILES]),
        ("1", "1", "2", [Cause.DRIFT]),
        ("1", "2", "3", [Cause.CONFLICT]),
        ("1", "2", "2", []),
        ("1", "1", "1", []),
    ],
)
def test_who_made_a_difference_is_told_from_what_was_applied_last(
    base: str, files: str, live: str, causes: list[Cause]
) -> None:
    was, will, now = (policy(rule("a", description=text)) for text in (base, files, live))
    assert [change.cause for change in differences(now, will, was)] == causes


def test_entries_that_somebody_added_by_hand_are_drift_beside_those_of_the_files() -> None:
    changes = differences(group("a", "hand"), group("a", "file"), group("a"))
    assert {change.before or change.after: change.cause for change in changes} == {
        "hand": Cause.DRIFT,
        "file": Cause.FILES,
    }


def test_a_rule_that_files_drop_and_somebody_changed_is_a_conflict() -> None:
    base, live = policy(rule("a"), rule("b")), policy(rule("a"), rule("b", description="by hand"))
    (dropped,) = differences(live, policy(rule("a")), base)
    assert (dropped.rule, dropped.action, dropped.cause) == ("b", REMOVED, Cause.CONFLICT)


def test_a_rule_that_somebody_added_or_deleted_by_hand_is_drift() -> None:
    base = policy(rule("a"), rule("b"))
    (added,) = differences(policy(rule("a"), rule("b"), rule("c")), base, base)
    (deleted,) = differences(policy(rule("a")), base, base)
    assert (added.rule, added.action, added.cause) == ("c", REMOVED, Cause.DRIFT)
    assert (deleted.rule, deleted.action, deleted.cause) == ("b", ADDED, Cause.DRIFT)
