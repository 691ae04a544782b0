"""Lines of the control socket as both of its ends write them. Loaded by every command, so it loads nothing itself."""

import json
from collections.abc import Mapping
from typing import Any

LINE_LIMIT = 128 * 1024
"""Longest request or reply, in bytes: half of what an event may have, which repeats it."""
ANSWER_LIMIT = 16 * 1024 * 1024
"""Longest answer, in bytes: it names every rule that lost, so it may be longer than any request."""


def line(content: Mapping[str, Any]) -> bytes:
    """Write one object."""
    return json.dumps(content).encode("ascii") + b"\n"
