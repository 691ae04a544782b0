"""Times and durations as documents and attempts write them."""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

TIME: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)")
_NO_DURATION: Final = "must be an ISO 8601 duration such as P30D or PT12H"


@lru_cache(maxsize=1024)
def parse_time(text: str) -> datetime:
    """Read an RFC 3339 time with its offset from UTC; raise ValueError with the remedy."""
    if TIME.fullmatch(text) is None:
        raise ValueError("must be a time such as 2026-11-23T12:00:00Z, with its offset from UTC")
    try:
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("is no time that exists; correct the day or the hour") from None


def parse_duration(text: str) -> timedelta:
    """Read an ISO 8601 duration of weeks, days, hours, minutes and seconds; raise ValueError with the remedy.

    Years and months have no certain length and are refused.
    """
    import isodate  # noqa: PLC0415 - most documents carry no duration, and the start has to be quick

    if text.startswith("+") or text.endswith("T"):  # isodate takes both
        raise ValueError(_NO_DURATION)
    try:
        duration = isodate.parse_duration(text)
    except (ValueError, OverflowError, TypeError):
        raise ValueError(_NO_DURATION) from None
    if not isinstance(duration, timedelta):
        message = "must not count in years or months, whose length is not certain; count in days, such as P30D"
        raise ValueError(message)  # noqa: TRY004 - the type is isodate's; for us it is a value
    if duration <= timedelta():
        raise ValueError("must be longer than nothing; write null for never")
    return duration
