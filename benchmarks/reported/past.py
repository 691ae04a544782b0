"""Make up the attempts of 90 days, and store them by the code that stores those of devices.

5,000 users at 1,000 devices elevate 2,000 applications, few of them often. A quarter of the rules is hardly ever used, some
results are rare. Attempts come in the order in which they happened.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from epm.elevation.v1 import event_pb2
from services._chassis.db import Database
from services.reporting.model.devices import Device
from services.reporting.model.events import AttemptRecord, Batch
from services.reporting.model.rollups import DAY
from services.reporting.store.devices import SqlDeviceRecords
from services.reporting.store.sink import DurableSink

DAYS = 90
DEVICES, USERS_OF_A_DEVICE, APPLICATIONS = 1000, 5, 2000
GROUP = 20_000
MILLISECOND = 1000

Kind = tuple[str, str, bool, bool, str, str]
RULED: Kind = ("ELEVATE", "RULE", True, False, "AUTOMATIC", "ELEVATED")
DENIED: Kind = ("DENY", "RULE", True, False, "DENY", "DENIED")
GRANTED: Kind = ("ELEVATE", "GRANT", True, False, "SUPPORT_APPROVED", "ELEVATED")
REFUSED: Kind = ("PROMPT", "RULE", True, False, "USER_CONFIRMED", "REFUSED")
UNMANAGED: Kind = ("NOT_MANAGED", "ADMINISTRATOR", False, True, "", "NOT_MANAGED")
"""Outcome, source, whether managed and by an administrator, elevation type and result."""


@dataclass(frozen=True, slots=True)
class Past:
    """How many attempts there were, and the last day of them."""

    events: int
    last: int

    def groups(self) -> Iterator[list[Batch]]:
        """Yield what devices sent, day after day, in groups."""
        drawn = random.Random(7)
        bodies = [_body(tool) for tool in range(APPLICATIONS + 1)]
        sent = [0] * DEVICES
        for first in range(0, self.events, GROUP):
            records: dict[int, list[AttemptRecord]] = {}
            for number in range(first, min(first + GROUP, self.events)):
                device = drawn.randrange(DEVICES)
                sent[device] += 1
                time = (self.last - DAYS + 1) * DAY + number * DAYS * DAY // self.events
                records.setdefault(device, []).append(_record(drawn, (number, time), (device, sent[device]), bodies))
            yield [_batch(device, told) for device, told in sorted(records.items())]


def _record(
    drawn: random.Random, at: tuple[int, int], place: tuple[int, int], bodies: Sequence[bytes]
) -> AttemptRecord:
    (number, time), (device, seq) = at, place
    tool = min(APPLICATIONS, int(drawn.paretovariate(0.5)))
    outcome, source, managed, administrator, kind, result = _fate(drawn, tool)
    by_rule = source == "RULE"
    return AttemptRecord(
        seq=seq,
        event_id=_uuid7(time, number),
        attempt_id=_uuid7(time, number),
        occurred=time,
        user_name=f"user-{device * USERS_OF_A_DEVICE + drawn.randrange(USERS_OF_A_DEVICE)}@example.com",
        trigger="REQUEST",
        outcome=outcome,
        source=source,
        managed=managed,
        administrator=administrator,
        elevation_type=kind,
        policy=f"policy-{tool % 5}" if by_rule else "",
        rule=f"rule-{tool % 200}" if by_rule else "",
        result=result,
        file_name=f"tool-{tool}.exe",
        internal_name=f"tool-{tool}",
        version="1.0",
        company_name=f"Publisher {tool % 50}",
        sha256=f"{tool:064x}",
        publisher=f"CN=Publisher {tool % 50}",
        body=bodies[tool],
    )


def _fate(drawn: random.Random, tool: int) -> Kind:
    if drawn.random() < 0.0001:  # noqa: PLR2004 - something that is hardly ever seen
        return REFUSED
    usual = UNMANAGED if tool % 3 == 0 else DENIED if tool % 17 == 0 else GRANTED if tool % 23 == 0 else RULED
    return usual if drawn.random() < 0.9 else drawn.choice((RULED, UNMANAGED))  # noqa: PLR2004 - mostly as ever


def _uuid7(time: int, number: int) -> str:
    stamp = f"{time // MILLISECOND:012x}"
    return (
        f"{stamp[:8]}-{stamp[8:]}-7{number >> 48 & 0xFFF:03x}-8{number >> 36 & 0xFFF:03x}-{number & 0xFFFFFFFFF:012x}"
    )


def _body(tool: int) -> bytes:
    event = event_pb2.ElevationEvent(event_id=_uuid7(0, tool), attempt_id=_uuid7(0, tool))
    file = event.decided.file
    file.path, file.sha256 = f"C:\\Program Files\\Tools\\tool-{tool}.exe", f"{tool:064x}"
    file.publisher, file.version = f"CN=Publisher {tool % 50}", "1.0"
    event.decided.user, event.decided.justification = "somebody@example.com", "to have something to say"
    return event.SerializeToString()


def _batch(device: int, records: Sequence[AttemptRecord]) -> Batch:
    return Batch(
        device_id=f"device-{device}",
        device_name=f"name-{device}",
        journal_id="journal",
        received=records[-1].occurred,
        attempts=tuple(records),
    )


async def remember_devices(database: Database) -> None:
    """Give a tenth of the devices one scope tag, and the others another."""
    devices = [
        Device(f"device-{n}", f"name-{n}", enrolled=True, scope_tags=frozenset({"apac" if n % 10 else "emea"}))
        for n in range(DEVICES)
    ]
    await SqlDeviceRecords(database).remember(devices)


async def store(database: Database, past: Past) -> None:
    """Store everything."""
    sink = DurableSink.on(database.url)
    for group in past.groups():
        await sink.store(group)
    await sink.close()
