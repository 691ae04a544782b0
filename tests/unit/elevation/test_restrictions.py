"""What a filter asks for, one by one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elevation.filters import MAX_LENGTH, FilterError, compile_filter, restrictions_of

LEAVES = ['os = "linux"', 'tag = "a"', "tag != b", "tag:*", "tags : c", "osVersion >= 6.1", "ownership = personal"]
filters = st.recursive(
    st.sampled_from(LEAVES),
    lambda inner: st.one_of(
        inner.map(lambda text: f"NOT ({text})"),
        st.tuples(inner, st.sampled_from(["AND", "OR"]), inner).map(
            lambda parts: f"({parts[0]}) {parts[1]} ({parts[2]})"
        ),
    ),
    max_leaves=6,
)
attributes = st.fixed_dictionaries(
    {
        "os": st.sampled_from(["linux", "windows", ""]),
        "osVersion": st.sampled_from(["6.0", "6.10", ""]),
        "ownership": st.sampled_from(["personal", "corporate", ""]),
        "tag": st.lists(st.sampled_from(["a", "b", "c"]), unique=True).map(tuple),
    }
)


@given(filters, attributes, attributes)
def test_a_filter_answers_otherwise_only_if_one_of_its_restrictions_does(
    text: str, before: dict[str, str | tuple[str, ...]], after: dict[str, str | tuple[str, ...]]
) -> None:
    same = all(each.holds(before) is each.holds(after) for each in restrictions_of(text))
    answers = compile_filter(text)
    assert not same or answers(before) is answers(after)


def test_every_restriction_is_found_with_the_field_that_it_means() -> None:
    found = restrictions_of('(os = "linux" OR NOT tags : a) AND os_version >= 6 AND tag != b')
    assert [each.field for each in found] == ["os", "tag", "osVersion", "tag"]
    assert [each.holds({"tag": ("a",)}) for each in found] == [False, True, False, True]


@pytest.mark.parametrize("text", ["", "colour = red", "tag =", "tag = a b", "x" * (MAX_LENGTH + 1)])
def test_what_is_no_filter_has_no_restrictions(text: str) -> None:
    with pytest.raises(FilterError):
        restrictions_of(text)
