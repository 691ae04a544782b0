"""Names that pass for others are told from names of any one language."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elevation import lookalikes
from elevation.texts import check_new_name

LATIN = st.text(alphabet="abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ -_.0123456789", min_size=1, max_size=20)


@given(LATIN)
def test_no_name_of_plain_letters_is_refused(name: str) -> None:
    assert list(check_new_name("name", name)) == []


@given(LATIN)
def test_twins_look_the_same_and_are_names_that_could_be_given(name: str) -> None:
    for twin in lookalikes.twins(name):
        assert twin != name
        assert lookalikes.skeleton(twin) == lookalikes.skeleton(name)
        assert name in lookalikes.twins(twin)
        assert [problem.message for problem in check_new_name("name", twin)] == []


@given(st.text(max_size=30))
def test_any_text_is_looked_at_without_an_error_and_stays_the_same(name: str) -> None:
    list(check_new_name("name", name))
    assert lookalikes.skeleton(lookalikes.skeleton(name)) == lookalikes.skeleton(name)
    assert len(lookalikes.twins(name)) < lookalikes.MOST_TWINS


@given(LATIN.filter(str.isalpha), st.sampled_from(sorted(lookalikes._LATIN_TWINS)))
def test_a_word_of_letters_with_one_of_another_alphabet_is_refused(word: str, stranger: str) -> None:
    (problem,) = check_new_name("name", f"{word}{stranger}")
    assert f"({stranger} is U+{ord(stranger):04X})" in problem.message or len(word) == 1


@pytest.mark.parametrize("name", ["COP", "\u0421\u041e\u0420"])
def test_words_of_twins_are_found_from_both_sides(name: str) -> None:
    assert lookalikes.twins(name) == {"COP", "\u0421\u041e\u0420"} - {name}


def test_letters_that_only_look_alike_without_their_marks_are_no_twins() -> None:
    assert lookalikes.skeleton("café") != lookalikes.skeleton("cafe")
    assert lookalikes.skeleton(unicodedata.normalize("NFD", "café")) == lookalikes.skeleton("café")
