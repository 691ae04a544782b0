"""What a run says on standard error where nobody looks at a terminal."""

import io
from collections import Counter

from fleet.model import Tally
from fleet.run import Picture
from fleet.show import LINE_EVERY, LineScreen


def picture(elapsed: float, *, calm: bool = False, **faults: int) -> Picture:
    return Picture(elapsed=elapsed, calm=calm, tally=Tally(faults=Counter(faults)))


def test_each_fault_is_told_when_it_came_first_and_the_end_of_all_of_them() -> None:
    out = io.StringIO()
    screen = LineScreen(out)
    screen.show(picture(0.0))
    first = len(out.getvalue().splitlines())
    screen.show(picture(1.0, cut=1))
    screen.show(picture(2.0, cut=2, clone=1))
    screen.show(picture(LINE_EVERY - 1, calm=True, cut=2, clone=1))
    screen.show(picture(LINE_EVERY - 1, calm=True, cut=2, clone=1))
    told = [line.strip() for line in out.getvalue().splitlines()[first:]]
    assert told == ["1.0 s: the first cut", "2.0 s: the first clone", "the faults are over"]
