"""Measure how long it takes to count a rollout: to read the deliveries of all devices, and to count them.

Devices are enrolled, 20 rules policies and one settings policy are for all of them; a third of the devices refuse, the rest apply. Beside it, in
the same run, the deliveries are read and counted the plain way: each as the object that the service works with. Ways take turns; medians are
reported. Run by `make bench` or `python benchmarks/rollouts.py [--devices N]`. Writes results/rollouts.json.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TypeVar

from services._chassis import logging
from services._chassis.db import Database
from services._chassis.migrate import upgrade
from services.policy.model.bundle import PolicyKind
from services.policy.model.delivery import Delivery
from services.policy.model.rollout import Picture, Subject
from services.policy.model.states import DeliveryState
from services.policy.store.deliveries import KeptDeliveries, deliveries_in
from services.policy.store.rollouts import SqlPictures
from services.policy.usecases.bases import Mark
from services.policy.usecases.documents import PolicyBook
from services.policy.usecases.rollout import Convergence
from tests.fakes.clock import NOW
from tests.fakes.policy import MemoryStore
from tests.fakes.policy_delivery import FakeDirectories, corpus, device, policy_book, rules, settings

RESULTS = Path(__file__).resolve().parent / "results" / "rollouts.json"
SUBJECT = Subject("rules-1", PolicyKind.RULES, 1)
T = TypeVar("T")
POLICIES, ROUNDS, AT_ONCE = 20, 9, 500
MILLI = 1000


@dataclass(frozen=True)
class Service:
    """What answers."""

    names: list[str]
    deliveries: KeptDeliveries
    pictures: SqlPictures
    convergence: Convergence

    async def read(self) -> Picture:
        """Read the deliveries as rollouts do."""
        return await self.pictures.picture(NOW)

    async def count(self, picture: Picture) -> int:
        """Count as rollouts do."""
        return (await self.convergence.count(SUBJECT, None, picture)).applied

    async def plainly(self) -> int:
        """Read and count the objects themselves."""
        found = await self.deliveries.many(self.names)
        return sum(delivery.state is DeliveryState.APPLIED for delivery in found.values())


async def measure(devices: int, url: str) -> dict[str, float]:
    """Return the figures, in milliseconds."""
    database = await Database.connect(url, service="policy")
    await upgrade(database)
    service = await prepared(devices, database)
    took: dict[str, list[float]] = {"read": [], "count": [], "both": [], "plainly": []}
    for _ in range(ROUNDS):
        read, picture = await timed(service.read)
        count, applied = await timed(partial(service.count, picture))
        plainly, expected = await timed(service.plainly)
        assert applied == expected == devices - len(range(0, devices, 3)), (applied, expected)
        for name, seconds in {"read": read, "count": count, "both": read + count, "plainly": plainly}.items():
            took[name].append(seconds)
    await database.close()
    return {f"{name}, ms": round(statistics.median(each) * MILLI, 1) for name, each in took.items()}


async def timed(work: Callable[[], Awaitable[T]]) -> tuple[float, T]:
    """Return how long it took, and what it came to."""
    started = perf_counter()
    found = await work()
    return perf_counter() - started, found


async def prepared(devices: int, database: Database) -> Service:
    """Enrol the devices, and let them answer."""
    directories = FakeDirectories(*(device(f"d{number}", f"user{number}") for number in range(devices)))
    book = policy_book(directories)
    book.put(corpus(settings(), *(rules(f"rules-{number}") for number in range(POLICIES))))
    deliveries, pictures = deliveries_in(database), SqlPictures(database)
    names = [f"d{number}" for number in range(devices)]
    for start in range(0, devices, AT_ONCE):
        part = range(start, min(start + AT_ONCE, devices))
        await deliveries.change([(names[number], answering(book, names[number], number)) for number in part])

    async def caught_up(_revision: int) -> None:
        """Wait for nothing: nobody authors."""

    convergence = Convergence(MemoryStore(), book, pictures=pictures, deliveries=deliveries, caught_up=caught_up)
    return Service(names, deliveries, pictures, convergence)


def answering(book: PolicyBook, name: str, number: int) -> Callable[[Delivery], Delivery]:
    """Return the step by which a device takes its document, or every third one refuses it."""
    mark: Mark = book.mark(book.basis(Delivery(name)))

    def step(old: Delivery) -> Delivery:
        opened = old.opened(f"stream-{number}", revision=0, sha256=b"", now=NOW)
        offered = opened.prepared(mark.sha256, mark.desired, mark.bundle).sent(NOW)
        refuses = number % 3 == 0
        return offered.rejected(1, ("no room on the disk",), NOW) if refuses else offered.applied(1, mark.desired, NOW)

    return step


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=10_000)
    parser.add_argument("--database-url", default="", help="an empty PostgreSQL database; SQLite if not given")
    asked = parser.parse_args()
    logging.configure(level="warning", as_json=True)
    with tempfile.TemporaryDirectory() as folder:
        url = asked.database_url or f"sqlite:///{folder}/policy.db"
        figures = asyncio.run(measure(asked.devices, url))
    for name, value in {"devices": asked.devices, **figures}.items():
        print(f"{name:<14}{value:>10}")
    RESULTS.write_text(json.dumps({"devices": asked.devices, **figures}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
