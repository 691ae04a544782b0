"""What is told of elevation requests: to approvers in the order of changes, and to devices and by them."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from services.policy.model.requests import ElevationRequest

_PLACE = re.compile(r"([0-9]{1,18})\.([0-9a-f-]{0,36})", re.ASCII)


class Place(NamedTuple):
    """Stand behind a request in the order in which requests changed."""

    revision: int = 0
    request_id: str = ""

    @classmethod
    def read(cls, text: str) -> "Place | None":
        """Read a place that was told; None if it never was one."""
        matched = _PLACE.fullmatch(text)
        return None if matched is None else cls(int(matched[1]), matched[2])

    def __str__(self) -> str:
        """Write the place as it is told."""
        return f"{self.revision}.{self.request_id}"


@dataclass(frozen=True, slots=True)
class Told:
    """Hold a request with what else is known of it: whether its device has heard of its state, and its last change."""

    request: ElevationRequest
    delivered: bool = True
    changed: int = 0

    @property
    def place(self) -> Place:
        """Return where it stands in the order of changes."""
        return Place(self.changed, self.request.request_id)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Tell a device what became of a request, under a number that grows for the device."""

    sequence: int
    request: ElevationRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantUse:
    """Say that an attempt used a grant."""

    grant_id: str
    attempt_id: str
    used: datetime
