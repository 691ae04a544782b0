"""Which attempts a question is about, and what is shown of each: the same in every report and in what is streamed."""

from typing import Any

import sqlalchemy as sa

from services.reporting.model.events import datetime_of
from services.reporting.model.reports import Elevation, Question
from services.reporting.store.narrowing import members, seen_devices, window_of
from services.reporting.store.tables import ATTEMPT, COMPLETION, KNOWN_DEVICE

_A = ATTEMPT.c
_DEVICE = KNOWN_DEVICE.c


def shown(as_of: int | None = None) -> sa.Select[Any]:
    """Select what is shown of attempts, with the exit code where it is known; with `as_of` where that transaction knew it."""
    known = () if as_of is None else (COMPLETION.c.stored <= as_of,)
    # An attempt and its completion come in any order, and perhaps the second never: joined at reading, by device too,
    # so that no device speaks about another's attempt.
    completed = (
        sa.select(COMPLETION.c.exit_code)
        .where(COMPLETION.c.attempt_id == _A.attempt_id, COMPLETION.c.device_id == _DEVICE.device_id, *known)
        .order_by(COMPLETION.c.received, COMPLETION.c.event_id)
        .limit(1)
        .scalar_subquery()
    )
    columns = (_A.event_id, _A.attempt_id, _DEVICE.device_id, _DEVICE.device_name, _A.occurred, _A.received, _A.body)
    source = ATTEMPT.join(KNOWN_DEVICE, _DEVICE.device_key == _A.device_key)
    return sa.select(*columns, completed.label("exit_code")).select_from(source)


def conditions(question: Question) -> list[sa.ColumnElement[bool]]:
    """Return what narrows attempts to those of a question that may be seen."""
    narrow = [_A[dimension.key].in_(wanted) for dimension, wanted in members(question).items()]
    return [*window_of(question).of(_A.occurred), *narrow, *named(question)]


def stored_since(as_of: int) -> sa.Select[Any]:
    """Select the events that were stored after the transaction of this number, for whoever looks for them by their numbers."""
    later = sa.alias(ATTEMPT)
    return sa.select(later.c.event_id).where(later.c.stored > as_of)


def named(question: Question) -> list[sa.ColumnElement[bool]]:
    """Return what narrows attempts to those that a question names; nothing where it names none."""
    return [_A.attempt_id.in_(asked.attempt_ids) for asked in question.filters.values() if asked.attempt_ids]


def visible(tags: frozenset[str] | None) -> list[sa.ColumnElement[bool]]:
    """Return what narrows attempts to those of devices with one of the tags; nothing where all may be seen."""
    seen = seen_devices(tags)
    return [_A.device_key.in_(sa.select(_DEVICE.device_key).where(*seen))] if seen else []


def elevation_of(row: sa.RowMapping) -> Elevation:
    """Read one attempt."""
    return Elevation(
        event_id=row["event_id"],
        attempt_id=row["attempt_id"],
        device_id=row["device_id"],
        device_name=row["device_name"],
        occurred=datetime_of(row["occurred"]),
        received=datetime_of(row["received"]),
        body=row["body"],
        exit_code=row["exit_code"],
    )
