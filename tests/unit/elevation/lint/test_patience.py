"""Lint goes on for as long as somebody waits, and no comparison takes long, however it is made."""

import string
from dataclasses import replace

import pytest

from elevation.lint.findings import Estate
from elevation.lint.linter import Linter
from elevation.lint.patience import GaveUpError
from elevation.lint.patterns import glob_of, overlap, takes_in
from elevation.model import Platform, SettingsPolicy
from tests.builders.effort import effort_of
from tests.builders.linted import sound, tools
from tests.fakes.clock import NOW

LETTERS = string.ascii_lowercase
SLOW = [
    ("x*" + "?a*" * 80 + f"y{n}", ("x*" + "".join(f"{c}*?" for c in LETTERS * 3))[:240] + f"y{n}") for n in range(10)
]
MANY = tuple(tools(f"p{n}", sound("r", file_name=f"{n}-*?.exe"), to=("all-devices",)) for n in range(20))


class Waits:
    """Gives up when it has been asked so many times."""

    def __init__(self, times: int) -> None:
        self.left = times

    def __call__(self) -> bool:
        self.left -= 1
        return self.left < 0


@pytest.mark.parametrize(("wide", "narrow"), SLOW)
def test_patterns_that_are_made_to_take_long_do_not(wide: str, narrow: str) -> None:
    one, other = glob_of(wide, Platform.LINUX), glob_of(narrow, Platform.LINUX)

    def compare() -> None:
        assert not takes_in(one, other)
        assert overlap(one, other)

    assert effort_of(compare) < 600_000, "without a bound it is more than ten million"


@pytest.mark.parametrize("times", [0, 1, 30, 45])
def test_who_gives_up_is_not_kept(times: int) -> None:
    with pytest.raises(GaveUpError):
        Linter().lint(Estate(rules_policies=MANY), now=NOW, given_up=Waits(times))


def test_settings_policies_without_number_end_too() -> None:
    settings = tuple(replace(SettingsPolicy("s"), name=f"s{n}") for n in range(50))
    with pytest.raises(GaveUpError):
        Linter().lint(Estate(settings_policies=settings), now=NOW, given_up=Waits(120))


def test_who_waits_long_enough_is_told_the_same_as_who_waits_for_ever() -> None:
    estate = Estate(rules_policies=MANY)
    assert Linter().lint(estate, now=NOW, given_up=Waits(10_000)) == Linter().lint(estate, now=NOW)
