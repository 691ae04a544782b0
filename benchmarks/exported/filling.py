"""A month of attempts, stored as ingest does."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from benchmarks.reported.filling import without_indexes
from services._chassis.db import Database
from services._chassis.migrate import upgrade
from services.reporting.model.events import Batch
from tests.builders.sinks import DurableSink
from tests.fakes.clock import NOW
from tests.fakes.reporting import batch, decided, unmanaged

DEVICES, TOOLS, USERS, DAYS = 100, 300, 500, 29
GROUP = 20_000


def attempts(events: int) -> Iterator[list[Batch]]:
    """Give attempts of a month in the order in which they come, a few hundred programs and users among them, in groups."""
    apart = timedelta(days=DAYS) / events
    sent = [0] * DEVICES
    for start in range(0, events, GROUP):
        numbers = range(start, min(start + GROUP, events))
        group = []
        for device in range(DEVICES):
            if told := [_attempt(number, NOW - (events - number) * apart) for number in numbers[device::DEVICES]]:
                group.append(batch(told, device=f"device-{device}", first=sent[device] + 1))
                sent[device] += len(told)
        yield group


def _attempt(number: int, at: datetime) -> Any:
    tool = number * 7919 % TOOLS
    file = {
        "path": f"C:\\Program Files\\Vendor {tool % 40}\\tool-{tool}.exe",
        "sha256": f"{tool:064x}",
        "version": f"{tool}.1.2",
        "description": f"Tool number {tool}",
        "product_name": f"Product {tool}",
        "internal_name": f"tool{tool}",
        "company_name": f"Vendor {tool % 40}",
        "publisher": f"CN=Vendor {tool % 40}, O=Vendor, C=DE",
        "publisher_fingerprint": f"{tool % 40:064x}",
    }
    make = unmanaged if tool % 3 == 0 else decided
    return make(
        number,
        at=at,
        user=f"user-{number * 31 % USERS}@example.com",
        file=file,
        arguments=["/install", f"/log:{number}.txt"] if number % 2 else [],
        reason="the rule setup of the policy tools matched",
        document_revision=17,
    )


async def fill(url: str, events: int) -> None:
    """Store the attempts as ingest does, and make the indexes once they are there."""
    database = await Database.connect(url, service="reporting")
    await upgrade(database)
    async with without_indexes(database):
        sink = DurableSink.on(database.url)
        for group in attempts(events):
            await sink.store(group)
        await sink.close()
    await database.close()
