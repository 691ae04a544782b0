"""Work out what settings policies want of devices, and whether the devices know; prepare the documents that say so."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from services._chassis.errors import UnavailableError
from services.policy.model.delivery import Delivery, SettingsState
from services.policy.ports import Deliveries, DeliveryStep
from services.policy.usecases.documents import Made, PolicyBook


async def survey(
    book: PolicyBook, deliveries: Deliveries, device_ids: Sequence[str], *, now: datetime
) -> list[SettingsState]:
    """Return the states of the devices; for each whose document is another one now, a new revision waits afterwards.

    Devices that the directory has lost meanwhile are passed over.
    """
    revision = book.revision
    known = dict(await deliveries.many(device_ids))
    made = _make(book, known)
    if losing := [device_id for device_id, found in made.items() if known[device_id].loses(found.desired)]:
        await _change(deliveries, known, {device_id: lambda old: old.losing(now) for device_id in losing})
        made |= _make(book, {device_id: known[device_id] for device_id in losing})
    behind = {device_id: _preparing(found) for device_id, found in made.items() if _differs(known[device_id], found)}
    await _change(deliveries, known, behind)
    return [
        SettingsState(
            device_id=device_id,
            desired=found.desired,
            acknowledged=known[device_id].acknowledged(found.desired),
            revision=revision,
        )
        for device_id, found in made.items()
    ]


async def _change(deliveries: Deliveries, known: dict[str, Delivery], steps: Mapping[str, DeliveryStep]) -> None:
    if steps:
        known.update((found.device_id, found) for found in await deliveries.change(list(steps.items())))


def _make(book: PolicyBook, known: Mapping[str, Delivery]) -> dict[str, Made]:
    made: dict[str, Made] = {}
    for device_id, delivery in known.items():
        try:
            made[device_id] = book.make(book.basis(delivery))
        except UnavailableError:
            continue
    return made


def _differs(delivery: Delivery, made: Made) -> bool:
    return delivery.revision == 0 or delivery.sha256 != made.sha256


def _preparing(made: Made) -> DeliveryStep:
    return lambda old: old.prepared(made.sha256, made.desired)
