"""Work out what settings policies want of devices, and whether the devices know; prepare the documents that say so."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from services._chassis.errors import UnavailableError
from services.policy.model.delivery import Delivery, SettingsState
from services.policy.ports import Deliveries, DeliveryStep
from services.policy.usecases.documents import Mark, PolicyBook


async def survey(
    book: PolicyBook, deliveries: Deliveries, device_ids: Sequence[str], *, now: datetime
) -> list[SettingsState]:
    """Return the states of the devices; for each whose document is another one now, a new revision waits afterwards.

    The document of a connected device is prepared by the process that holds its stream, and by no other: of two processes
    one knows of a change first, and each would take back what the other prepared. Devices that the directory has lost
    meanwhile, and those of which it does not show yet that they enrolled again, are passed over.
    """
    revision, kept = book.revision, await deliveries.many(device_ids)
    lives = {device_id: device.life for device_id, device in book.directory().devices.items() if device_id in kept}
    known = {
        device_id: kept[device_id].in_life(life)
        for device_id, life in lives.items()
        if not kept[device_id].outlives(life)
    }
    marks = _marks(book, known)
    if losing := [device_id for device_id, mark in marks.items() if known[device_id].loses(mark.desired)]:
        await _change(deliveries, known, {device_id: _losing(lives[device_id], now) for device_id in losing})
        marks |= _marks(book, {device_id: known[device_id] for device_id in losing})
    behind = {
        device_id: _preparing(mark, lives[device_id])
        for device_id, mark in marks.items()
        if not known[device_id].connected
        and (_differs(known[device_id], mark) or known[device_id].life != kept[device_id].life)
    }
    await _change(deliveries, known, behind)
    return [
        SettingsState(
            device_id=device_id,
            desired=mark.desired,
            acknowledged=known[device_id].acknowledged(mark.desired),
            revision=revision,
            lost=known[device_id].lost,
            life=lives[device_id],
        )
        for device_id, mark in marks.items()
    ]


async def _change(deliveries: Deliveries, known: dict[str, Delivery], steps: Mapping[str, DeliveryStep]) -> None:
    if steps:
        known.update((found.device_id, found) for found in await deliveries.change(list(steps.items())))


def _marks(book: PolicyBook, known: Mapping[str, Delivery]) -> dict[str, Mark]:
    marks: dict[str, Mark] = {}
    for device_id, delivery in known.items():
        try:
            marks[device_id] = book.mark(book.basis(delivery))
        except UnavailableError:
            continue
    return marks


def _differs(delivery: Delivery, mark: Mark) -> bool:
    return delivery.revision == 0 or (delivery.sha256, delivery.bundle) != (mark.sha256, mark.bundle)


def _losing(life: datetime | None, now: datetime) -> DeliveryStep:
    return lambda old: old.in_life(life).losing(now)


def _preparing(mark: Mark, life: datetime | None) -> DeliveryStep:
    return lambda old: old.in_life(life).prepared(mark.sha256, mark.desired, mark.bundle)
