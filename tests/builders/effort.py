"""How much work something is, counted: clocks tell how busy a machine is as well."""

import sys
from collections.abc import Callable
from types import FrameType


def effort_of(work: Callable[[], object]) -> int:
    """Do the work and count the calls that it takes, those of built-in functions and steps of generators among them."""
    counted = 0

    def count(_frame: FrameType, event: str, _: object) -> None:
        nonlocal counted
        counted += event in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(before)
    return counted
