"""Colours of what is printed line by line, and whether there may be any."""

import os
import sys
from collections.abc import Mapping
from typing import Final

SEVERITIES: Final[Mapping[str, str]] = {"ERROR": "red", "HIGH": "red", "WARNING": "yellow", "INFO": "cyan"}
"""The colours of findings."""


def may_colour(*, err: bool = False) -> bool:
    """Tell whether lines may be coloured: on a terminal that can, where NO_COLOR does not say otherwise."""
    out = sys.stderr if err else sys.stdout
    return out.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
