"""Make up the attempts of 90 days, and those that come in while reports are measured.

5,000 users at 1,000 devices elevate 2,000 applications, few of them often. A quarter of the rules is hardly ever used, some
results are rare. Attempts come in the order in which they happened.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from epm.elevation.v1 import event_pb2
from services._chassis.db import Database
from services.reporting.model.attempts import AttemptRecord
from services.reporting.model.devices import Device
from services.reporting.model.events import Batch
from services.reporting.model.rollups import DAY
from services.reporting.store.devices import SqlDeviceRecords

DAYS = 90
DEVICES, USERS_OF_A_DEVICE, APPLICATIONS = 1000, 5, 2000
JOURNAL = "journal"
MILLISECOND = 1000


class Fate(NamedTuple):
    """What became of an attempt."""

    outcome: str
    source: str
    managed: bool
    administrator: bool
    elevation_type: str
    result: str


RULED = Fate("ELEVATE", "RULE", managed=True, administrator=False, elevation_type="AUTOMATIC", result="ELEVATED")
DENIED = Fate("DENY", "RULE", managed=True, administrator=False, elevation_type="DENY", result="DENIED")
GRANTED = Fate(
    "ELEVATE", "GRANT", managed=True, administrator=False, elevation_type="SUPPORT_APPROVED", result="ELEVATED"
)
REFUSED = Fate("PROMPT", "RULE", managed=True, administrator=False, elevation_type="USER_CONFIRMED", result="REFUSED")
UNMANAGED = Fate(
    "NOT_MANAGED", "ADMINISTRATOR", managed=False, administrator=True, elevation_type="", result="NOT_MANAGED"
)
FATES = (RULED, DENIED, GRANTED, REFUSED, UNMANAGED)


class Drawn(NamedTuple):
    """An attempt: its number and time, and which device, user, application and fate of all there are."""

    event_id: str
    time: int
    device: int
    seq: int
    user: int
    tool: int
    fate: Fate

    def record(self) -> AttemptRecord:
        """Return the attempt as a device's stream brings it."""
        tool, fate = self.tool, self.fate
        facts: dict[str, Any] = {**fate._asdict(), **file_of(tool)}
        return AttemptRecord(
            seq=self.seq,
            event_id=self.event_id,
            attempt_id=self.event_id,
            occurred=self.time,
            user_name=user_of(self.user),
            trigger="REQUEST",
            policy=rule_of(tool, fate)[0],
            rule=rule_of(tool, fate)[1],
            body=body_of(tool),
            **facts,
        )


@dataclass(slots=True)
class Drawing:
    """Draw attempts one after the other; each knows its place in the journal of its device."""

    random: random.Random
    sent: list[int]

    @classmethod
    def begun(cls, seed: int) -> "Drawing":
        """Return what draws the same attempts for the same seed."""
        return cls(random.Random(seed), [0] * DEVICES)

    def one(self, number: int, time: int) -> Drawn:
        """Draw the attempt with this number, which happens at this time."""
        draw = self.random.random
        device, tool = int(draw() * DEVICES), min(APPLICATIONS, int((1 - draw()) ** -2))
        self.sent[device] += 1
        user = device * USERS_OF_A_DEVICE + int(draw() * USERS_OF_A_DEVICE)
        return Drawn(_uuid7(time, number), time, device, self.sent[device], user, tool, self._fate(tool, draw()))

    def _fate(self, tool: int, drawn: float) -> Fate:
        if drawn < 0.0001:  # noqa: PLR2004 - something that is hardly ever seen
            return REFUSED
        if drawn >= 0.9:  # noqa: PLR2004 - mostly as ever
            return self.random.choice((RULED, UNMANAGED))
        return UNMANAGED if tool % 3 == 0 else DENIED if tool % 17 == 0 else GRANTED if tool % 23 == 0 else RULED


@dataclass(frozen=True, slots=True)
class Past:
    """How many attempts there were, and the last day of them."""

    events: int
    last: int

    @property
    def first(self) -> int:
        """Return the first day."""
        return self.last - DAYS + 1

    def days(self) -> Iterator[list[Drawn]]:
        """Yield the attempts of each day."""
        drawing = Drawing.begun(7)
        for day in range(DAYS):
            numbers = range(day * self.events // DAYS, (day + 1) * self.events // DAYS)
            apart = DAY // max(1, len(numbers))
            start = (self.first + day) * DAY
            yield [drawing.one(number, start + place * apart) for place, number in enumerate(numbers)]


def user_of(user: int) -> str:
    """Return a user's name."""
    return f"user-{user}@example.com"


def device_of(device: int) -> tuple[str, str]:
    """Return a device's id and name."""
    return f"device-{device}", f"name-{device}"


def rule_of(tool: int, fate: Fate) -> tuple[str, str]:
    """Return the policy and the rule that decided about an application."""
    return (f"policy-{tool % 5}", f"rule-{tool % 200}") if fate.source == "RULE" else ("", "")


@cache
def file_of(tool: int) -> dict[str, str]:
    """Return what is known of an application's file."""
    return {
        "file_name": f"tool-{tool}.exe",
        "internal_name": f"tool-{tool}",
        "version": "1.0",
        "company_name": f"Publisher {tool % 50}",
        "sha256": f"{tool:064x}",
        "publisher": f"CN=Publisher {tool % 50}",
    }


@cache
def body_of(tool: int) -> bytes:
    """Return an event as its device sends it."""
    event = event_pb2.ElevationEvent(event_id=_uuid7(0, tool), attempt_id=_uuid7(0, tool))
    file = event.decided.file
    file.path, file.sha256 = f"C:\\Program Files\\Tools\\tool-{tool}.exe", f"{tool:064x}"
    file.publisher, file.version = f"CN=Publisher {tool % 50}", "1.0"
    event.decided.user, event.decided.justification = "somebody@example.com", "to have something to say"
    return event.SerializeToString()


def batches_of(attempts: Sequence[Drawn], journal: str = JOURNAL) -> list[Batch]:
    """Return what devices send of these attempts, each as one batch."""
    told: dict[int, list[AttemptRecord]] = {}
    for one in attempts:
        told.setdefault(one.device, []).append(one.record())
    found = []
    for device, records in sorted(told.items()):
        device_id, device_name = device_of(device)
        found.append(
            Batch(
                device_id=device_id,
                device_name=device_name,
                journal_id=journal,
                received=records[-1].occurred,
                attempts=tuple(records),
            )
        )
    return found


def _uuid7(time: int, number: int) -> str:
    stamp = f"{time // MILLISECOND:012x}"
    return (
        f"{stamp[:8]}-{stamp[8:]}-7{number >> 48 & 0xFFF:03x}-8{number >> 36 & 0xFFF:03x}-{number & 0xFFFFFFFFF:012x}"
    )


async def remember_devices(database: Database) -> None:
    """Give a tenth of the devices one scope tag, and the others another."""
    devices = [
        Device(*device_of(n), enrolled=True, scope_tags=frozenset({"apac" if n % 10 else "emea"}))
        for n in range(DEVICES)
    ]
    await SqlDeviceRecords(database).remember(devices)
