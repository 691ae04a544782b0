"""Notices of requests for approval."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from services.policy.model.notices import Notice, NoticedRequest, NoticeEvent
from tests.fakes.clock import NOW

REQUEST = NoticedRequest(
    request_id="01890000-0000-7000-8000-000000000001",
    device_id="d1",
    device_name="LAPTOP-7",
    user="alice",
    justification="needs the new driver",
    file_path="C:\\Users\\alice\\setup.exe",
    sha256="ab" * 32,
    submitted=NOW,
    review_deadline=NOW + timedelta(days=7),
    publisher="Contoso Ltd",
    policy="workstations",
    rule="installers",
)


def notice(
    number: int = 1, event: NoticeEvent = NoticeEvent.SUBMITTED, *, recorded: datetime = NOW, **of_request: Any
) -> Notice:
    """Make a notice of a change of a request."""
    request_id = f"01890000-0000-7000-8000-{number:012}"
    return Notice(event=event, recorded=recorded, request=replace(REQUEST, **{"request_id": request_id, **of_request}))
