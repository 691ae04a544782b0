"""How far the policy of each device has come, as administrators see it: the directory's devices with their deliveries."""

import heapq
from collections.abc import Iterator, Mapping

from services._chassis.clock import Clock
from services._chassis.errors import UnavailableError
from services._chassis.paging import Page, PageRequest, cut
from services._chassis.permits import DEFAULT_TAG
from services.policy.model.bundle import Contents
from services.policy.model.conflicts import SettingsConflict, conflicts_of, without_names
from services.policy.model.delivery import Delivery
from services.policy.model.directory import DirectoryDevice
from services.policy.model.rollout import NOTHING
from services.policy.model.states import DevicePolicyState, StatesWanted, is_stale
from services.policy.ports import Bundles, Deliveries
from services.policy.usecases.documents import PolicyBook


class DeliveryStates:
    """Show the state of every device that has credentials."""

    def __init__(self, book: PolicyBook, deliveries: Deliveries, bundles: Bundles, clock: Clock) -> None:
        self._book = book
        self._deliveries = deliveries
        self._bundles = bundles
        self._clock = clock

    async def page(self, request: PageRequest, wanted: StatesWanted) -> Page[DevicePolicyState]:
        """Return the states that are wanted, by (device name, device id)."""
        rest = (device for device in self._wanted(wanted) if _place(device) > request.after)
        devices = cut(heapq.nsmallest(request.size + 1, rest, key=_place), request, key=_place)
        known = await self._deliveries.many([device.device_id for device in devices.items])
        named = {delivery.applied_bundle.digest for delivery in known.values()} - {b""}
        contents = await self._bundles.many(named)
        hidden = self._hidden(wanted.visible)
        states = []
        for device in devices.items:
            conflicts = tuple(without_names(conflict, hidden) for conflict in self._conflicts(device))
            states.append(self._state(device, known[device.device_id], contents, conflicts))
        return Page(tuple(states), devices.next_token)

    def _wanted(self, wanted: StatesWanted) -> Iterator[DirectoryDevice]:
        shown = (
            device
            for device in self._book.directory().devices.values()
            if device.enrolled
            and (wanted.visible is None or not wanted.visible.isdisjoint(device.scope_tags or {DEFAULT_TAG}))
            and wanted.device in ("", device.device_id, device.name)
        )
        if not wanted.conflicting_only:
            yield from shown
            return
        for device, shared in self._book.each_shared(shown):
            if shared.conflicting:
                yield device

    def _conflicts(self, device: DirectoryDevice) -> tuple[SettingsConflict, ...]:
        """Return on what policies disagree now; nothing while they were not read yet."""
        try:
            return conflicts_of(self._book.effective().document(device))
        except UnavailableError:
            return ()

    def _hidden(self, visible: frozenset[str] | None) -> frozenset[str]:
        """Return the names of settings policies that carry none of the tags."""
        if visible is None or self._book.corpus is None:
            return frozenset()
        policies = self._book.corpus.settings_policies
        return frozenset(
            stored.name for stored in policies if visible.isdisjoint(stored.about.scope_tags or {DEFAULT_TAG})
        )

    def _state(
        self,
        device: DirectoryDevice,
        delivery: Delivery,
        contents: Mapping[bytes, Contents],
        conflicts: tuple[SettingsConflict, ...],
    ) -> DevicePolicyState:
        now = self._clock.now()
        delivery = delivery.in_life(device.life)
        connected = delivery.connected
        held = contents.get(delivery.applied_bundle.digest, NOTHING)
        return DevicePolicyState(
            device_id=device.device_id,
            device_name=device.name,
            state=delivery.state,
            offered_revision=delivery.revision,
            applied_revision=delivery.applied_revision,
            confirmed=delivery.confirmed,
            rejections=delivery.rejections,
            connected=connected,
            offline_since=None if connected else delivery.seen,
            stale=is_stale(
                held.stale_after, delivery.state, connected=connected, confirmed=delivery.confirmed, now=now
            ),
            conflicts=conflicts,
            key_ids=delivery.key_ids,
            sha256=delivery.sha256,
        )


def _place(device: DirectoryDevice) -> tuple[str | int, ...]:
    return device.name, device.device_id
