"""What is shown of an attempt: the same in a list and while it happens."""

from collections.abc import Mapping
from typing import Final, cast

from epmctl.fitted import Fit
from epmctl.kinds.model import Column, at, time_at
from epmctl.output import Plain, Record


def _decided_by(record: Record) -> Plain:
    """Say which rule decided, or what else did."""
    decided = cast("Record", record["decided"])
    return f"{decided['policy']}/{decided['rule']}" if decided["rule"] else decided["source"]


ELEVATION_COLUMNS: Final[Mapping[str, Column]] = {
    "OCCURRED": time_at("occurred"),
    "DEVICE": at("deviceName"),
    "USER": at("decided.user"),
    "RESULT": at("decided.result"),
    "ELEVATION TYPE": at("decided.elevationType"),
    "DECIDED BY": _decided_by,
    "FILE": at("decided.file.path"),
    "ATTEMPT": at("attemptId"),
}

LISTED_COLUMNS: Final[Mapping[str, Column]] = {**ELEVATION_COLUMNS, "REQUEST": at("decided.grantId")}
"""With the request for approval by whose leave the file was elevated."""

ELEVATION_FIT: Final = Fit(
    whole=("OCCURRED", "ELEVATION TYPE", "ATTEMPT", "REQUEST"),
    spare=("ELEVATION TYPE", "REQUEST", "ATTEMPT", "DECIDED BY"),
    last=("RESULT", "FILE"),
    filled=("REQUEST",),
)
"""A part of an identifier is of no use; it is left out rather than cut."""
