"""Many deliveries at once, whatever they are kept in."""

from collections.abc import Iterator, Mapping, Sequence

from services.policy.model.bundle import Bundle
from services.policy.model.delivery import Delivery
from services.policy.ports import DeliveryStep

CHUNK = 500
"""Devices that one statement asks for."""


def take_steps(
    steps: Sequence[tuple[str, DeliveryStep]], before: Mapping[str, Delivery]
) -> tuple[Mapping[str, Delivery], Sequence[Delivery]]:
    """Take each step for its device, in order; return where that ends for each device, and what each step led to."""
    after = dict(before)
    led_to = []
    for device_id, step in steps:
        after[device_id] = step(after[device_id])
        led_to.append(after[device_id])
    return after, led_to


def changed(before: Mapping[str, Delivery], after: Mapping[str, Delivery]) -> list[Delivery]:
    """Return the deliveries that are not what they were."""
    pairs = ((before[device_id], new) for device_id, new in after.items())
    return [new for old, new in pairs if new is not old and new != old]


def bundles_named(before: Mapping[str, Delivery], after: Mapping[str, Delivery]) -> Iterator[Bundle]:
    """Give the bundles that deliveries name now and did not before."""
    for device_id, new in after.items():
        old = before[device_id]
        if new.bundle is not old.bundle and new.bundle != old.bundle:
            yield new.bundle
        if new.applied_bundle is not old.applied_bundle and new.applied_bundle != old.applied_bundle:
            yield new.applied_bundle


def parts(device_ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """Cut into what one statement asks for."""
    return (device_ids[start : start + CHUNK] for start in range(0, len(device_ids), CHUNK))
