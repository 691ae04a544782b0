"""Which attempts a question is about, and what is shown of each: the same in every report and in what is streamed."""

from typing import Any

import sqlalchemy as sa

from services.reporting.model.events import datetime_of, microseconds
from services.reporting.model.reports import Elevation, ElevationFilter, Question
from services.reporting.store.tables import ATTEMPT, COMPLETION, DEVICE_TAG

_A = ATTEMPT.c


def shown() -> sa.Select[Any]:
    """Select what is shown of attempts, with the exit code where it is known."""
    # An attempt and its completion come in any order, and perhaps the second never: joined at reading, by device too,
    # so that no device speaks about another's attempt.
    completed = (
        sa.select(COMPLETION.c.exit_code)
        .where(COMPLETION.c.attempt_id == _A.attempt_id, COMPLETION.c.device_id == _A.device_id)
        .order_by(COMPLETION.c.received, COMPLETION.c.event_id)
        .limit(1)
        .scalar_subquery()
    )
    columns = (_A.event_id, _A.attempt_id, _A.device_id, _A.device_name, _A.occurred, _A.received, _A.body)
    return sa.select(*columns, completed.label("exit_code"))


def conditions(question: Question) -> list[sa.ColumnElement[bool]]:
    """Return what narrows attempts to those of a question that may be seen."""
    return [*_filtered(question.filter), *visible(question.tags)]


def visible(tags: frozenset[str] | None) -> list[sa.ColumnElement[bool]]:
    """Return what narrows attempts to those of devices with one of the tags; nothing where all may be seen."""
    if tags is None:
        return []
    carries = sa.select(DEVICE_TAG.c.device_id).where(DEVICE_TAG.c.tag.in_(sorted(tags)))
    return [_A.device_id.in_(carries)]


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


def _filtered(asked: ElevationFilter) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = []
    if asked.occurred_from is not None:
        conditions.append(_A.occurred >= microseconds(asked.occurred_from))
    if asked.occurred_before is not None:
        conditions.append(_A.occurred < microseconds(asked.occurred_before))
    if asked.managed is not None:
        conditions.append(_A.managed.is_(asked.managed))
    if asked.governed_by_rule:
        conditions.append(_A.source == "RULE")
    alternatives = (
        (_A.elevation_type, asked.elevation_types),
        (_A.result, asked.results),
        (_A.user_name, asked.users),
        (_A.device_name, asked.devices),
        (_A.policy, asked.policies),
        (_A.rule, asked.rules),
        (_A.publisher, asked.publishers),
        (_A.sha256, asked.sha256s),
        (_A.file_name, asked.file_names),
        (_A.source, asked.sources),
    )
    conditions += [column.in_(values) for column, values in alternatives if values]
    return conditions
