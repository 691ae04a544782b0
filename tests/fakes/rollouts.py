"""Bundles and pictures of deliveries in memory; both pass the same contract as those in SQL."""

from collections.abc import Collection, Mapping
from datetime import datetime

from services._chassis.errors import UnavailableError
from services.policy.model.bundle import Contents
from services.policy.model.delivery import Delivery
from services.policy.model.rollout import Facts, Picture
from tests.fakes.policy_delivery import MemoryDeliveries


class MemoryBundles:
    """Know the bundles that deliveries in memory name."""

    def __init__(self, deliveries: MemoryDeliveries) -> None:
        self._deliveries = deliveries

    def all(self) -> Mapping[bytes, Contents]:
        """Return every bundle that a delivery names."""
        named = [bundle for kept in self._deliveries.kept.values() for bundle in (kept.bundle, kept.applied_bundle)]
        return {bundle.digest: bundle.contents for bundle in named if bundle.contents is not None}

    async def many(self, digests: Collection[bytes]) -> Mapping[bytes, Contents]:
        """Return those that are asked for."""
        return {digest: contents for digest, contents in self.all().items() if digest in digests}


class MemoryPictures:
    """Take pictures of deliveries in memory."""

    def __init__(self, deliveries: MemoryDeliveries) -> None:
        self.taken = 0
        self.failure: UnavailableError | None = None
        self._deliveries = deliveries

    async def picture(self, now: datetime) -> Picture:
        """Return all deliveries as they are."""
        if self.failure:
            raise self.failure
        self.taken += 1
        kept = self._deliveries.kept
        facts = {device_id: facts_of(delivery) for device_id, delivery in kept.items()}
        reasons = {
            device_id: delivery.rejections
            for device_id, delivery in kept.items()
            if delivery.rejected_revision and delivery.rejected_revision == delivery.revision
        }
        return Picture(now, facts, MemoryBundles(self._deliveries).all(), reasons)


def facts_of(delivery: Delivery) -> Facts:
    """Return what a picture tells of a delivery."""
    return Facts(
        revision=delivery.revision,
        offered=delivery.offered is not None,
        applied_revision=delivery.applied_revision,
        rejected_revision=delivery.rejected_revision,
        bundle=delivery.bundle.digest or None,
        applied_bundle=delivery.applied_bundle.digest or None,
        confirmed=delivery.confirmed,
        connected=delivery.connected,
    )
