"""Which attempts a question is about, in terms of what attempts are found and counted by: alike for events and for counts."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from services.reporting.model.events import datetime_of, microseconds
from services.reporting.model.reports import Question
from services.reporting.store.dimensions import DECISION, DEVICE, DIMENSIONS, OWNER, USER, Dimension
from services.reporting.store.listed import listed
from services.reporting.store.tables import DEVICE_TAG, KNOWN_DECISION, KNOWN_DEVICE, KNOWN_USER

COLUMNS = {
    "elevation_types": "elevation_type",
    "results": "result",
    "sources": "source",
    "users": "user_name",
    "devices": "device_name",
    "device_ids": "device_id",
    "policies": "policy",
    "rules": "rule",
    "publishers": "publisher",
    "sha256s": "sha256",
    "file_names": "file_name",
    "internal_names": "internal_name",
    "versions": "version",
    "company_names": "company_name",
}
"""The column that each field of a filter with alternatives is about."""


@dataclass(frozen=True, slots=True)
class Window:
    """The times, in microseconds, from `start` up to `end`; None where it is open."""

    start: int | None
    end: int | None

    def of(self, time: sa.ColumnElement[int]) -> list[sa.ColumnElement[bool]]:
        """Return what narrows a time to the window."""
        bounds = [] if self.start is None else [time >= self.start]
        return bounds if self.end is None else [*bounds, time < self.end]


def window_of(question: Question) -> Window:
    """Return the times that a question is about."""
    starts = [one.occurred_from for one in question.filters.values() if one.occurred_from is not None]
    ends = [one.occurred_before for one in question.filters.values() if one.occurred_before is not None]
    return Window(microseconds(max(starts)) if starts else None, microseconds(min(ends)) if ends else None)


def narrowed_to(question: Question, window: Window) -> Question:
    """Return the question about its times within a window alone."""
    asked = window_of(question)
    starts = [start for start in (asked.start, window.start) if start is not None]
    ends = [end for end in (asked.end, window.end) if end is not None]
    start = datetime_of(max(starts)) if starts else None
    end = datetime_of(min(ends)) if ends else None
    return replace(question, filter=replace(question.filter, occurred_from=start, occurred_before=end))


def members(question: Question) -> Mapping[Dimension, sa.Select[Any]]:
    """Return, for each dimension that a question narrows, the numbers of those it is about."""
    wanted: dict[Dimension, list[sa.ColumnElement[bool]]] = {dimension: [] for dimension in DIMENSIONS}
    for asked in question.filters.values():
        for name, column in COLUMNS.items():
            if values := getattr(asked, name):
                wanted[OWNER[column]].append(OWNER[column].table.c[column].in_(values))
        if asked.managed is not None:
            wanted[DECISION].append(KNOWN_DECISION.c.managed.is_(asked.managed))
        if asked.governed_by_rule:
            wanted[DECISION].append(KNOWN_DECISION.c.source == "RULE")
        if asked.administrator is not None:
            wanted[DECISION].append(KNOWN_DECISION.c.administrator.is_(asked.administrator))
        if asked.device_groups:
            wanted[DEVICE] += _among(KNOWN_DEVICE.c.device_id, question.groups.devices(asked.device_groups))
        if asked.user_groups:
            wanted[USER] += _among(KNOWN_USER.c.user_name, question.groups.users(asked.user_groups))
    wanted[DEVICE] += seen_devices(question.tags)
    return {
        dimension: sa.select(dimension.table.c[dimension.key]).where(*narrow)
        for dimension, narrow in wanted.items()
        if narrow
    }


def seen_devices(tags: frozenset[str] | None) -> list[sa.ColumnElement[bool]]:
    """Return what narrows known devices to those with one of the tags; nothing where all may be seen."""
    return carrying(KNOWN_DEVICE.c.device_id, tags)


def carrying(device: sa.ColumnElement[Any], tags: frozenset[str] | None) -> list[sa.ColumnElement[bool]]:
    """Return what narrows rows to those of devices with one of the tags; nothing where all may be seen."""
    if tags is None:
        return []
    return [device.in_(sa.select(DEVICE_TAG.c.device_id).where(DEVICE_TAG.c.tag.in_(sorted(tags))))]


def _among(column: sa.ColumnElement[str], members: Collection[str] | None) -> list[sa.ColumnElement[bool]]:
    return [] if members is None else [column.in_(listed(members))]


def unmanaged_alone(question: Question) -> Question | None:
    """Return the question without its wish for unmanaged attempts alone; None where it has none."""
    if question.filter.managed is not False:
        return None
    return replace(question, filter=replace(question.filter, managed=None))
