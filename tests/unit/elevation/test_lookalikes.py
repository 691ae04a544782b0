"""Names that pass for others are told from names of any one language."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elevation import glyphs, lookalikes
from elevation.texts import check_new_name, check_visible

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


@given(LATIN.filter(str.isalpha), st.sampled_from(sorted(glyphs.LATIN_TWINS)))
def test_a_word_of_letters_with_one_of_another_alphabet_is_refused(word: str, stranger: str) -> None:
    (problem,) = check_new_name("name", f"{word}{stranger}")
    assert f"({stranger} is U+{ord(stranger):04X})" in problem.message or len(word) == 1


@pytest.mark.parametrize("name", ["COP", "\u0421\u041e\u0420"])
def test_words_of_twins_are_found_from_both_sides(name: str) -> None:
    assert {"COP", "\u0421\u041e\u0420"} - {name} <= lookalikes.twins(name)


def test_letters_that_only_look_alike_without_their_marks_are_no_twins() -> None:
    assert lookalikes.skeleton("café") != lookalikes.skeleton("cafe")
    assert lookalikes.skeleton(unicodedata.normalize("NFD", "café")) == lookalikes.skeleton("café")


@given(
    st.text(alphabet=[*"abcopeiHTX -'/:.", *glyphs.LATIN_TWINS, *glyphs.STYLED_TWINS, *glyphs.MARK_TWINS], max_size=128)
)
def test_whatever_could_be_given_and_looks_like_a_plain_name_is_its_twin(name: str) -> None:
    if not name.isascii() and _of_twins_alone(name) and not list(check_new_name("name", name)):
        plain = lookalikes.skeleton(name)
        assert any(twin.isascii() and lookalikes.skeleton(twin) == plain for twin in lookalikes.twins(name))


def _of_twins_alone(name: str) -> bool:
    """Tell whether each word is of letters with twins alone, so that it has a plain spelling."""
    return all(character.isascii() or lookalikes.skeleton(character).isascii() for character in name)


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("a\u0261ent", "g"),
        ("\u0251gent", "a"),
        ("a\u2010b", "-"),
        ("a\u2011b", "-"),
        ("a\u2012b", "-"),
        ("a\u2212b", "-"),
        ("a\u2215b", "/"),
        ("a\u2044b", "/"),
        ("a\ua789b", ":"),
        ("a\uff1ab", ":"),
        ("a\u2024b", "."),
        ("\uff41b", "a"),
    ],
)
def test_a_character_that_passes_for_a_plain_one_is_refused_and_the_plain_one_named(name: str, plain: str) -> None:
    (problem,) = check_new_name("name", name)
    assert f"which passes for {plain!r}; write {plain!r}" in problem.message


@pytest.mark.parametrize(
    "hidden",
    "\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b\u180d\u2060\u2064\u2065\u2800\u3164\ufe00\ufe0e\ufe0f\uffa0"
    "\U000e0001\U000e0100\U000e01ef",
)
def test_no_name_holds_what_does_not_show(hidden: str) -> None:
    problems = list(check_new_name("name", f"a{hidden}b"))
    assert f"invisible character U+{ord(hidden):04X}; remove it" in problems[0].message


@pytest.mark.parametrize("hidden", "\u200d\ufe0e\ufe0f")
def test_running_text_may_join_letters_and_choose_pictures(hidden: str) -> None:
    assert list(check_visible("description", f"a{hidden}b", layout=True)) == []


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("\u13df\u13e2", "CP"),
        ("\ua4d0\ua4f3\ua4d1", "BOP"),
        ("\u2ca4\u2c9e\u2ca2", "COP"),
        ("\u0581\u0585 tools", "go tools"),
        ("t\u0131tle", "title"),
        ("a\u2013b-c", "a-b-c"),
        ("Ann\u2019s", "Ann's"),
        (" ".join(["\u0421\u041e\u0420"] * 20), " ".join(["COP"] * 20)),
        ("\u55b6\u696d\uff1aA", "\u55b6\u696d:A"),
    ],
)
def test_a_name_in_other_letters_is_a_twin_of_the_plain_one(name: str, plain: str) -> None:
    assert list(check_new_name("name", name)) == []
    assert plain in lookalikes.twins(name)
    assert lookalikes.skeleton(name) == lookalikes.skeleton(plain)


@pytest.mark.parametrize("letter", ["\u13aa", "\ua4d0", "\u2c9e", "\u10ff", "\u05e1", "\u0627", "\u142f", "\u0581"])
def test_a_word_is_of_one_script(letter: str) -> None:
    (problem,) = check_new_name("name", f"to{letter}ls")
    assert "mixes Latin and" in problem.message


@pytest.mark.parametrize(
    "name",
    [
        "Windows\u7528\u30c4\u30fc\u30eb",
        "\u65e5\u672c\u8a9e\u306e\u30eb\u30fc\u30eb \u3005",
        "\ud55c\uad6d\uc5b4 \u898f\u5247",
        "\u5f00\u53d1\uff08\u6d4b\u8bd5\uff09",
        "\u5de5\u5177\uff1a\u529e\u516c",
        "\u05db\u05dc\u05d9\u05dd Windows",
        "\u0623\u062f\u0648\u0627\u062a",
        "\u0939\u093f\u0928\u094d\u0926\u0940",
        "\u0e40\u0e04\u0e23\u0e37\u0e48\u0e2d\u0e07\u0e21\u0e37\u0e2d",
        "\u0418\u043d\u0441\u0442\u0440\u0443\u043c\u0435\u043d\u0442\u044b Windows",
        "\u0395\u03c1\u03b3\u03b1\u03bb\u03b5\u03af\u03b1",
        "\u053d\u0578\u0582\u0574\u0562",
        "\u13e3\u13b3\u13a9",
        "s\u0131n\u0131f",
        "Vi\u1ec7t Nam",
        "\u00b5Tools 5 m\u00b2 \u2013 n\u00ba 1",
        "L\u2019outil d\u2019Anna",
        "\u10e5\u10d0\u10e0\u10d7\u10e3\u10da\u10d8",
    ],
)
def test_names_of_the_languages_of_the_world_are_taken(name: str) -> None:
    assert [problem.message for problem in check_new_name("name", name)] == []
