"""Which events of each kind a question is about, and what is shown of each."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

import sqlalchemy as sa

from services.reporting.model import live
from services.reporting.model.events import datetime_of, microseconds
from services.reporting.model.live import Completion, Statement
from services.reporting.model.reports import ElevationFilter, Question
from services.reporting.store.attempts import conditions, shown
from services.reporting.store.listed import listed
from services.reporting.store.narrowing import carrying
from services.reporting.store.tables import ATTEMPT, COMPLETION, DIAGNOSTIC

_C, _D = COMPLETION.c, DIAGNOSTIC.c
_ARRIVAL = ("device_id", "device_name", "occurred", "received")
_SAID = ("code", "message", "event_count", "first_seq", "last_seq")


def attempts(question: Question) -> sa.Select[Any]:
    """Select the attempts of a question."""
    return shown().where(*conditions(question))


def completions(question: Question) -> sa.Select[Any]:
    """Select the completions of a question: all that may be seen, or those of the attempts that its filter leaves."""
    found = sa.select(_C.event_id, _C.attempt_id, _C.exit_code, *(_C[name] for name in _ARRIVAL))
    found = found.where(*carrying(_C.device_id, question.tags))
    if question.filter == ElevationFilter():
        return found
    # Joined by device too, as where attempts show their exit codes: no device speaks about another's attempt.
    selected = shown()
    device = selected.selected_columns["device_id"]
    attempt = selected.with_only_columns(sa.literal(1), maintain_column_froms=True)
    belongs = (device == _C.device_id, ATTEMPT.c.attempt_id == _C.attempt_id)
    return found.where(attempt.where(*belongs, *conditions(question)).exists())


def statements(question: Question) -> sa.Select[Any]:
    """Select what agents said: of a filter devices and times alone narrow that."""
    asked = question.filter
    found = sa.select(_D.event_id, *(_D[name] for name in (*_ARRIVAL, *_SAID)))
    found = found.where(*carrying(_D.device_id, question.tags))
    if asked.occurred_from is not None:
        found = found.where(_D.occurred >= microseconds(asked.occurred_from))
    if asked.occurred_before is not None:
        found = found.where(_D.occurred < microseconds(asked.occurred_before))
    if asked.devices:
        found = found.where(_D.device_name.in_(asked.devices))
    if asked.device_ids:
        found = found.where(_D.device_id.in_(asked.device_ids))
    if asked.device_groups and (members := question.groups.devices(asked.device_groups)) is not None:
        found = found.where(_D.device_id.in_(listed(members)))
    return found


SELECTS: Final[Mapping[str, Callable[[Question], sa.Select[Any]]]] = MappingProxyType(
    {live.ATTEMPT: attempts, live.COMPLETION: completions, live.DIAGNOSTIC: statements}
)


def completion_of(row: sa.RowMapping) -> Completion:
    """Read one completion."""
    return Completion(
        event_id=row["event_id"],
        attempt_id=row["attempt_id"],
        device_id=row["device_id"],
        device_name=row["device_name"],
        occurred=datetime_of(row["occurred"]),
        received=datetime_of(row["received"]),
        exit_code=row["exit_code"],
    )


def statement_of(row: sa.RowMapping) -> Statement:
    """Read one statement."""
    return Statement(
        event_id=row["event_id"],
        device_id=row["device_id"],
        device_name=row["device_name"],
        occurred=datetime_of(row["occurred"]),
        received=datetime_of(row["received"]),
        code=row["code"],
        message=row["message"],
        event_count=row["event_count"],
        first_seq=row["first_seq"],
        last_seq=row["last_seq"],
    )
