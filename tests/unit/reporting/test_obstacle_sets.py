"""Laws of the sets from which obstacles are told."""

from collections.abc import Iterable, Sequence

from hypothesis import given
from hypothesis import strategies as st
from pyroaring import BitMap

from services.reporting.model.obstacles import (
    NOTHING,
    Sets,
    Weight,
    of_pairs,
    packed,
    united,
    unpacked,
    weighed,
    within,
)

FILES = st.integers(1, 6) | st.integers(1, 2**31 - 1)
NUMBERS = st.integers(1, 40) | st.integers(65_000, 66_000) | st.integers(1, 2**31 - 1)
PAIRS = st.lists(st.tuples(FILES, NUMBERS), max_size=60)


def _pairs(sets: Sets) -> set[tuple[int, int]]:
    return {(file, number) for file, numbers in sets.items() for number in numbers}


def _naively(pairs: Iterable[tuple[int, int]]) -> set[Weight]:
    """Weigh the slow way."""
    told = set(pairs)
    found = set()
    for file in {file for file, _ in told}:
        mine = {number for one, number in told if one == file}
        rest = {number for one, number in told if one != file}
        found.add(Weight(file, len(mine), len(mine - rest)))
    return found


@given(PAIRS)
def test_sets_hold_their_pairs_and_no_others(pairs: list[tuple[int, int]]) -> None:
    sets = of_pairs(pairs)
    assert _pairs(sets) == set(pairs)
    assert all(sets.values())


@given(PAIRS)
def test_what_is_packed_is_unpacked_again(pairs: list[tuple[int, int]]) -> None:
    sets = of_pairs(pairs)
    assert unpacked(packed(sets)) == sets


@given(PAIRS, st.sets(FILES))
def test_the_sets_of_some_files_are_unpacked_alone(pairs: list[tuple[int, int]], files: set[int]) -> None:
    found = unpacked(packed(of_pairs(pairs)), files)
    assert _pairs(found) == {(file, number) for file, number in pairs if file in files}


@given(st.lists(PAIRS, max_size=5))
def test_spans_add_up_to_what_is_in_any_of_them_and_stay_as_they_are(spans: Sequence[list[tuple[int, int]]]) -> None:
    many = [of_pairs(pairs) for pairs in spans]
    found = united(many)
    assert found == of_pairs([pair for pairs in spans for pair in pairs])
    assert found == united([*many, *many, NOTHING])
    assert many == [of_pairs(pairs) for pairs in spans]


@given(PAIRS, st.sets(NUMBERS))
def test_within_some_numbers_nothing_else_is_left(pairs: list[tuple[int, int]], numbers: set[int]) -> None:
    found = within(of_pairs(pairs), BitMap(numbers))
    assert _pairs(found) == {(file, number) for file, number in pairs if number in numbers}
    assert all(found.values())


@given(PAIRS)
def test_applications_weigh_what_a_naive_count_says(pairs: list[tuple[int, int]]) -> None:
    found = weighed(of_pairs(pairs))
    assert set(found) == _naively(pairs)
    assert len(found) == len(set(found))
    assert found == sorted(found, key=lambda one: (-one.users_freed, -one.users))
