"""Points in time as options name them: a time, a day, or how far it is from now."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

import click

from epmctl.documents.values import parse_duration, parse_time

METAVAR: Final = "TIME|SPAN"
"""What help texts call such a value."""

_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_SPAN: Final = re.compile(r"(\d{1,9})([smhdw])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_FORMS: Final = "a time such as 2026-11-23T12:00:00Z, a day such as 2026-11-23, or a span such as 24h, 7d or P1D"


def past(text: str) -> datetime:
    """Read the value of an option that names a time, or a span before now."""
    return _option(text, -1)


def future(text: str) -> datetime:
    """Read the value of an option that names a time, or a span from now on."""
    return _option(text, +1)


def span(text: str) -> timedelta:
    """Read the value of an option that names a span of time."""
    try:
        return _parse_span(text)
    except (ValueError, OverflowError):
        raise click.BadParameter(f"must be a span such as 30s, 5m or PT30S, not {text!r}") from None


def parse_moment(text: str, *, now: datetime, direction: int) -> datetime:
    """Read a time, a day, or a span counted from `now` in `direction`; raise ValueError with the remedy.

    A day is its beginning in UTC, and only what lies in the past is named by one: of what ends on a day nobody knows when on it.
    """
    if _DAY.fullmatch(text):
        began = parse_time(f"{text}T00:00:00Z")
        if direction > 0:
            raise ValueError(f"must say when on that day, such as {text}T12:00:00Z")
        return began
    if text[:1].isdigit() and "-" in text:
        return parse_time(text)
    try:
        return now + direction * _parse_span(text)
    except OverflowError:
        raise ValueError("is too far from now; give a time or a shorter span") from None


def _option(text: str, direction: int) -> datetime:
    try:
        return parse_moment(text, now=datetime.now(UTC), direction=direction)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _parse_span(text: str) -> timedelta:
    matched = _SPAN.fullmatch(text)
    if matched is not None:
        return timedelta(**{_UNITS[matched[2]]: int(matched[1])})
    try:
        return parse_duration(text)
    except ValueError:
        raise ValueError(f"must be {_FORMS}, not {text!r}") from None
