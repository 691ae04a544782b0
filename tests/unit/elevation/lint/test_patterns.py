"""Patterns compared with each other, against the matcher on every text of a small alphabet."""

import sys
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elevation.lint import patterns
from elevation.lint.patterns import glob_of, overlap, takes_in
from elevation.model import Platform
from elevation.paths import separator
from elevation.wildcards import Pattern

LETTERS = "abßs/"
LONGEST = 5
TEXTS = ["".join(letters) for length in range(LONGEST + 1) for letters in product(LETTERS, repeat=length)]
globs = st.text("aabsß*?/", max_size=4).filter(lambda text: not text.endswith("/"))
platforms = st.sampled_from([Platform.LINUX, Platform.MACOS])


def matching(pattern: str, platform: Platform) -> set[str]:
    matches = Pattern(pattern, separator(platform), folds=platform is not Platform.LINUX).matches
    return {text for text in TEXTS if matches(text)}


@given(globs, globs, platforms)
def test_a_pattern_takes_another_in_exactly_if_it_matches_all_of_its_texts(
    wide: str, narrow: str, platform: Platform
) -> None:
    expected = matching(narrow, platform) <= matching(wide, platform)

    assert takes_in(glob_of(wide, platform), glob_of(narrow, platform)) == expected


@given(globs, globs, platforms)
def test_patterns_overlap_exactly_if_some_text_matches_both(one: str, other: str, platform: Platform) -> None:
    if one.count("*") and other.count("*") and len(one + other) > LONGEST + 2:
        return  # their shortest common text may be longer than the texts here
    expected = bool(matching(one, platform) & matching(other, platform))

    assert overlap(glob_of(one, platform), glob_of(other, platform)) == expected


@pytest.mark.parametrize(
    ("wide", "narrow", "platform", "expected"),
    [
        ("*.exe", "setup*.exe", Platform.WINDOWS, True),
        ("*.EXE", "setup.exe", Platform.WINDOWS, True),
        ("*.EXE", "setup.exe", Platform.LINUX, False),
        ("setup?.exe", "setup*.exe", Platform.WINDOWS, False),
        ("*a*", "*a*a*", Platform.LINUX, True),
        ("*?*", "?", Platform.LINUX, True),
        ("stra?e.exe", "straße.exe", Platform.WINDOWS, False),  # "strasse.exe" folds to the same name
        ("stra*e.exe", "straße.exe", Platform.WINDOWS, True),
        ("*s.exe", "ß.exe", Platform.WINDOWS, False),
        ("*s.exe", "*ss.exe", Platform.WINDOWS, False),
        ("s*.exe", "ss*.exe", Platform.WINDOWS, False),
        ("*ss.exe", "*ass.exe", Platform.WINDOWS, True),
        ("a*a.exe", "a.exe", Platform.WINDOWS, False),
        ("C:\\*", "C:\\A\\B", Platform.WINDOWS, False),
        ("C:\\*\\B", "C:\\?\\B\\", Platform.WINDOWS, True),
    ],
)
def test_patterns_of_documents_compare_as_their_files_do(
    wide: str, narrow: str, platform: Platform, *, expected: bool
) -> None:
    assert takes_in(glob_of(wide, platform), glob_of(narrow, platform)) is expected


def test_a_pattern_that_would_take_too_long_is_not_taken_in() -> None:
    hard = glob_of("*a" + "?" * 40, Platform.LINUX)

    assert not takes_in(hard, glob_of("*b*" + "?" * 41, Platform.LINUX))
    assert overlap(glob_of("*a" * 100 + "b", Platform.LINUX), glob_of("*b" * 100, Platform.LINUX))


def test_every_character_that_folding_lengthens_is_known() -> None:
    lengthened = {chr(code).casefold() for code in range(sys.maxunicode + 1) if len(chr(code).casefold()) > 1}

    assert patterns.long_units() == lengthened
