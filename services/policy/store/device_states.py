"""How far the policy of each device has come, as administrators see it: the directory's devices with their deliveries."""

import heapq
from collections.abc import Iterator

from services._chassis.clock import Clock
from services._chassis.paging import Page, PageRequest, cut
from services._chassis.permits import DEFAULT_TAG
from services.policy.model.delivery import Delivery
from services.policy.model.directory import DirectoryDevice
from services.policy.model.states import DevicePolicyState
from services.policy.ports import Deliveries, Directories


class DeliveryStates:
    """Show the state of every device that has credentials."""

    def __init__(self, directories: Directories, deliveries: Deliveries, clock: Clock) -> None:
        self._directories = directories
        self._deliveries = deliveries
        self._clock = clock

    async def page(self, request: PageRequest, visible: frozenset[str] | None) -> Page[DevicePolicyState]:
        """Return states by (device name, device id), of the devices that carry one of the tags; None: of all."""
        shown = (device for device in self._visible(visible) if _place(device) > request.after)
        devices = cut(heapq.nsmallest(request.size + 1, shown, key=_place), request, key=_place)
        known = await self._deliveries.many([device.device_id for device in devices.items])
        states = tuple(self._state(device, known[device.device_id]) for device in devices.items)
        return Page(states, devices.next_token)

    def _visible(self, visible: frozenset[str] | None) -> Iterator[DirectoryDevice]:
        for device in self._directories.directory().devices.values():
            if device.enrolled and (visible is None or not visible.isdisjoint(device.scope_tags or {DEFAULT_TAG})):
                yield device

    def _state(self, device: DirectoryDevice, delivery: Delivery) -> DevicePolicyState:
        return DevicePolicyState(
            device_id=device.device_id,
            device_name=device.name,
            state=delivery.state,
            offered_revision=delivery.revision,
            applied_revision=delivery.applied_revision,
            confirmed=delivery.confirmed,
            rejections=delivery.rejections,
            connected=delivery.connected(self._clock.now()),
        )


def _place(device: DirectoryDevice) -> tuple[str | int, ...]:
    return device.name, device.device_id
