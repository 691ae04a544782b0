"""Policies, devices and deliveries in memory, and how far the one has come on the other."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from elevation.model import ReusableCertificate, RulesPolicy, SettingsPolicy
from services._chassis.permits import EVERYTHING, Permit
from services.policy.model.delivery import Delivery
from services.policy.model.objects import Corpus, Stored, kind_of
from services.policy.model.rollout import (
    DevicesWanted,
    Rollout,
    RolloutDevice,
    SubjectWanted,
)
from services.policy.usecases.bases import Mark
from services.policy.usecases.documents import PolicyBook
from services.policy.usecases.rollout import Convergence
from tests.fakes.clock import NOW
from tests.fakes.policy import MemoryStore
from tests.fakes.policy_delivery import (
    FakeDirectories,
    MemoryDeliveries,
    device,
    policy_book,
    rules,
    stored,
)
from tests.fakes.policy_delivery import settings as settings_of
from tests.fakes.rollouts import MemoryPictures

ALL = Permit("policy_authoring.read", (EVERYTHING,))
TOOLS = SubjectWanted("tools")
Authored = SettingsPolicy | RulesPolicy


@dataclass
class World:
    """Hold policies, devices and what was delivered; every device does what the test says."""

    directories: FakeDirectories
    deliveries: MemoryDeliveries = field(default_factory=MemoryDeliveries)
    store: MemoryStore = field(default_factory=MemoryStore)

    def __post_init__(self) -> None:
        self.book: PolicyBook = policy_book(self.directories)
        self.pictures = MemoryPictures(self.deliveries)
        self.convergence = Convergence(
            self.store, self.book, pictures=self.pictures, deliveries=self.deliveries, caught_up=self.caught_up
        )
        self.awaited: list[int] = []

    async def caught_up(self, revision: int) -> None:
        self.awaited.append(revision)

    def author(
        self, *policies: Stored[SettingsPolicy] | Stored[RulesPolicy], certificates: Iterable[ReusableCertificate] = ()
    ) -> None:
        """Make these all that is authored."""
        self.store.kept_revision += 1
        kept = tuple(stored(certificate) for certificate in certificates)
        self.store.objects = {(kind_of(type(found.content)).one, found.name): found for found in (*policies, *kept)}
        self.book.put(
            Corpus(
                self.store.kept_revision,
                tuple(policy for policy in policies if isinstance(policy.content, SettingsPolicy)),
                tuple(policy for policy in policies if isinstance(policy.content, RulesPolicy)),
                kept,
            )
        )

    def mark(self, device_id: str) -> Mark:
        """Return what the device is to have now."""
        return self.book.mark(self.book.basis(self.delivery(device_id)))

    def delivery(self, device_id: str) -> Delivery:
        """Return what is known of a device."""
        return self.deliveries.kept.get(device_id, Delivery(device_id))

    async def hello(self, device_id: str, revision: int = 0, sha256: bytes = b"") -> None:
        """Open a stream of the device."""
        await self.deliveries.change(
            [(device_id, lambda old: old.opened("stream", revision=revision, sha256=sha256, now=NOW))]
        )

    async def offer(self, device_id: str) -> Delivery:
        """Offer the device what it is to have."""
        mark = self.mark(device_id)
        [led_to] = await self.deliveries.change(
            [(device_id, lambda old: old.prepared(mark.sha256, mark.desired, mark.bundle).sent(NOW))]
        )
        return led_to

    async def apply(self, *device_ids: str) -> None:
        """Offer the devices what they are to have, which they apply."""
        for device_id in device_ids:
            await self.offer(device_id)
            await self.deliveries.change([(device_id, lambda old: old.applied(old.revision, old.desired, NOW))])

    async def refuse(self, device_id: str, *reasons: str) -> None:
        """Offer the device what it is to have, which it refuses."""
        offer = await self.offer(device_id)
        await self.deliveries.change([(device_id, lambda old: old.rejected(offer.revision, reasons, NOW))])

    async def rollout(self, wanted: SubjectWanted = TOOLS, permit: Permit = ALL) -> Rollout:
        """Return how far a policy has come."""
        return await self.convergence.get(wanted, permit=permit, now=NOW)

    async def devices(self, wanted: SubjectWanted = TOOLS, **narrowed: object) -> list[RolloutDevice]:
        """Return the devices of a rollout."""
        page = await self.convergence.devices(
            wanted,
            DevicesWanted(**narrowed),  # type: ignore[arg-type]
            permit=ALL,
            page_size=100,
            page_token="",
            now=NOW,
        )
        return list(page.items)


def world(*device_ids: str) -> World:
    made = World(FakeDirectories(*map(device, device_ids)))
    made.author(stored(settings_of(), 1), stored(rules("tools"), 1))
    return made
