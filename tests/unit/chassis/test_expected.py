"""Etags made from content, and the refusal of a change that was planned against another state."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services._chassis.errors import ConflictError
from services._chassis.expected import Expected, check_expected, etag_of, refuse_stale

CONTENT = st.dictionaries(st.text(), st.text() | st.lists(st.text()) | st.none())


@given(CONTENT, CONTENT)
def test_the_same_content_has_the_same_etag_and_another_has_another(
    one: dict[str, object], other: dict[str, object]
) -> None:
    assert etag_of(dict(reversed(one.items()))) == etag_of(one)
    assert (etag_of(one) == etag_of(other)) == (one == other)


def test_what_is_as_expected_is_let_through() -> None:
    present = {"a": "1", "b": ""}
    refuse_stale([Expected("Group", "a", "1"), Expected("Group", "b", "")], lambda entry: present[entry.name])


def test_every_object_that_differs_is_named_at_once_with_what_became_of_it() -> None:
    expected = [Expected("Group", name, etag) for name, etag in (("a", "1"), ("b", "1"), ("c", ""), ("d", "1"))]
    present = {"a": "2", "b": "", "c": "1", "d": "1"}
    with pytest.raises(ConflictError) as refused:
        refuse_stale(expected, lambda entry: present[entry.name])
    assert (refused.value.stale, refused.value.reason) == (True, "STALE_ETAG")
    assert refused.value.details == {"etag": "2", "kind": "Group", "name": "a"}
    assert refused.value.message == (
        'changed since this was planned: Group "a" has changed, Group "b" is not there any more, Group "c" is there already;'
        " read the objects again and plan anew"
    )


def test_a_refusal_that_names_too_many_says_how_many_there_are_beside_them() -> None:
    expected = [Expected("Group", f"group-{number}" + "x" * 100, "1") for number in range(50)]
    with pytest.raises(ConflictError) as refused:
        refuse_stale(expected, lambda _: "2")
    named = refused.value.message.count("has changed")
    assert f" and {50 - named} more;" in refused.value.message
    assert 5 < named < 50
    assert len(refused.value.message) < 1100


def test_kinds_that_there_are_not_and_repetitions_are_problems() -> None:
    expected = [Expected("Group", "a", ""), Expected("Gruop", "a", ""), Expected("Group", "a", "1")]
    assert [(problem.field, problem.message) for problem in check_expected(expected, ("Group",))] == [
        ("expected[1].kind", '"Gruop" is none of Group'),
        ("expected[2].name", '"a" stands twice; remove one'),
    ]
