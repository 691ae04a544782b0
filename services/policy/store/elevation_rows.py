"""Elevation requests as rows."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from elevation.model import Platform
from services._chassis.db import Transaction
from services.policy.model.requests import Access, ElevationRequest, End, RequestedFile, RequestState, Review
from services.policy.model.told_requests import Told
from services.policy.store.tables import ELEVATION_REQUEST, REQUEST_OUTCOME

_E, _O = ELEVATION_REQUEST.c, REQUEST_OUTCOME.c
_PLAIN = (
    "device_id",
    "device_name",
    "justification",
    "attempt_id",
    "submitted",
    "review_deadline",
    "policy",
    "rule",
    "life",
)
_COLUMNS = [column for column in ELEVATION_REQUEST.c if column is not _E.certificates]
Row = sa.RowMapping


def _asked() -> sa.Select[Any]:
    waiting = sa.select(_O.sequence).where(_O.request_id == _E.request_id, _O.kept.is_(False))
    # Correlated with the requests alone: who asks may join outcomes of their own.
    return sa.select(*_COLUMNS, waiting.correlate(ELEVATION_REQUEST).exists().label("waiting"))


# Composed once: to compose it anew takes longer than to run it.
_ASKED = _asked()
BY_ID = _ASKED.where(_E.request_id == sa.bindparam("id"))
_NEWEST = sa.select(sa.func.coalesce(sa.func.max(_O.sequence), 0)).where(_O.device_id == sa.bindparam("of_device"))
_OUTCOME = sa.insert(REQUEST_OUTCOME).values(sequence=_NEWEST.scalar_subquery() + 1).inline()


def requests_asked() -> sa.Select[Any]:
    """Ask for requests without their certificates, and whether their devices have heard of their states."""
    return _ASKED


async def read_requests(
    tx: Transaction, asked: sa.Select[Any], parameters: Mapping[str, Any] | None = None
) -> list[Told]:
    """Read what was asked for."""
    return [told_from_row(row) for row in (await tx.execute(asked, parameters)).mappings()]


def told_from_row(row: Row) -> Told:
    """Read a row with what is known beside it."""
    return Told(request_from_row(row), delivered=not row["waiting"], changed=row["changed"])


def request_from_row(row: Row) -> ElevationRequest:
    """Read a row."""
    return ElevationRequest(
        request_id=row["request_id"],
        user=row["requester"],
        platform=Platform[row["platform"]],
        file=RequestedFile(**row["file"]),
        arguments=tuple(row["arguments"]),
        scope_tags=frozenset(row["scope_tags"]),
        state=RequestState[row["state"]],
        review=_read(Review, row["review"]),
        access=_read(Access, row["access"]),
        end=_read(End, row["ending"]),
        **{name: row[name] for name in _PLAIN},
    )


def row_of(request: ElevationRequest) -> dict[str, Any]:
    """Write a request as a row, without its certificates and its last change."""
    return {
        "request_id": request.request_id,
        "requester": request.user,
        "platform": request.platform.name,
        "file": asdict(request.file),
        "sha256": request.file.sha256,
        "arguments": list(request.arguments),
        "scope_tags": sorted(request.scope_tags),
        **{name: getattr(request, name) for name in _PLAIN},
        **standing_of(request),
    }


def standing_of(request: ElevationRequest) -> dict[str, Any]:
    """Write what changes of a request."""
    return {
        "state": request.state.name,
        "review": _written(request.review),
        "access": _written(request.access),
        "ending": _written(request.end),
        "due": request.ends,
    }


async def write_outcomes(tx: Transaction, request: ElevationRequest, revision: int) -> None:
    """Have the device hear of the state that its request came into, if it does not bring that about itself."""
    if not request.told:
        return
    row = {
        "of_device": request.device_id,
        "device_id": request.device_id,
        "request_id": request.request_id,
        "state": request.state.name,
        "revision": revision,
        "kept": False,
        "uses": request.access.uses if request.access else None,
    }
    await tx.execute(_OUTCOME, row)


def _written(part: Review | Access | End | None) -> Any:
    """Write a part; times as text, since it becomes JSON."""
    if part is None:
        return None
    return {name: _text(value) for name, value in asdict(part).items()}


def _text(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else value


def _read(kind: type[Any], written: Mapping[str, Any] | None) -> Any:
    if written is None:
        return None
    times = {"reviewed", "begins", "until", "ended"}
    return kind(**{name: datetime.fromisoformat(value) if name in times else value for name, value in written.items()})
