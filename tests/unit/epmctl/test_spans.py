"""Spans of time are said in words, as short as they are of use."""

from datetime import timedelta

import pytest

from epmctl.spans import in_words


@pytest.mark.parametrize(
    ("span", "said"),
    [
        (timedelta(), "0 s"),
        (timedelta(seconds=-5), "0 s"),
        (timedelta(days=-5), "0 s"),
        (timedelta(seconds=59.9), "59 s"),
        (timedelta(seconds=119.9), "119 s"),
        (timedelta(minutes=2, seconds=5), "2 min"),
        (timedelta(minutes=119), "119 min"),
        (timedelta(hours=2, minutes=59), "2 h"),
        (timedelta(days=1), "24 h"),
        (timedelta(hours=47, minutes=59), "47 h"),
        (timedelta(days=2, hours=23), "2 days"),
    ],
)
def test_a_span_is_said_in_the_largest_unit_of_which_there_are_two(span: timedelta, said: str) -> None:
    assert in_words(span) == said
