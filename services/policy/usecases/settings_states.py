"""Work out what settings policies want of devices, and whether the devices know; prepare the documents that say so."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import partial

from services._chassis.errors import UnavailableError
from services.policy.model.delivery import Delivery, SettingsState
from services.policy.ports import Deliveries, DeliveryStep
from services.policy.usecases.bases import Mark
from services.policy.usecases.contained import change_each, made_for
from services.policy.usecases.documents import PolicyBook


async def survey(
    book: PolicyBook, deliveries: Deliveries, device_ids: Sequence[str], *, now: datetime
) -> list[SettingsState]:
    """Return the states of the devices; for each whose document is another one now, a new revision waits afterwards.

    The document of a connected device is prepared by the process that holds its stream, and by no other: of two processes
    one knows of a change first, and each would take back what the other prepared. Devices that the directory has lost
    meanwhile, those of which it does not show yet that they enrolled again, and those of which something goes wrong are
    passed over.
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
        lost = await _change(deliveries, known, {device_id: _losing(lives[device_id], now) for device_id in losing})
        marks = _without(marks, losing) | _marks(book, {device_id: known[device_id] for device_id in lost})
    behind = {
        device_id: _preparing(mark, lives[device_id])
        for device_id, mark in marks.items()
        if not known[device_id].connected
        and (_differs(known[device_id], mark) or known[device_id].life != kept[device_id].life)
    }
    kept_up = await _change(deliveries, known, behind)
    marks = _without(marks, behind.keys() - kept_up)
    return [
        SettingsState(
            device_id=device_id,
            desired=mark.desired,
            acknowledged=known[device_id].acknowledged(mark.desired),
            revision=revision,
            lost=known[device_id].lost,
            life=lives[device_id],
            scope=mark.scope,
        )
        for device_id, mark in marks.items()
    ]


async def _change(
    deliveries: Deliveries, known: dict[str, Delivery], steps: Mapping[str, DeliveryStep]
) -> Collection[str]:
    """Take the steps, and return the devices whose steps were kept. Raises UnavailableError."""
    changed: dict[str, Delivery] = {}
    for found in await change_each(deliveries.change, list(steps.items())) if steps else ():
        if isinstance(found, UnavailableError):
            raise found
        if isinstance(found, Delivery):
            changed[found.device_id] = found
    known.update(changed)
    return changed.keys()


def _without(marks: Mapping[str, Mark], device_ids: Collection[str]) -> dict[str, Mark]:
    return {device_id: mark for device_id, mark in marks.items() if device_id not in device_ids}


def _marks(book: PolicyBook, known: Mapping[str, Delivery]) -> dict[str, Mark]:
    marks: dict[str, Mark] = {}
    for device_id, delivery in known.items():
        if mark := made_for(device_id, partial(_mark, book, delivery)):
            marks[device_id] = mark
    return marks


def _mark(book: PolicyBook, delivery: Delivery) -> Mark:
    return book.mark(book.basis(delivery))


def _differs(delivery: Delivery, mark: Mark) -> bool:
    other = delivery.revision == 0 or (delivery.sha256, delivery.bundle) != (mark.sha256, mark.bundle)
    return other or delivery.regains(mark.desired)


def _losing(life: datetime | None, now: datetime) -> DeliveryStep:
    return lambda old: old.in_life(life).losing(now)


def _preparing(mark: Mark, life: datetime | None) -> DeliveryStep:
    def prepare(old: Delivery) -> Delivery:
        present = old.in_life(life)
        if present.connected:  # meanwhile: from now on its document is for the process that holds the stream
            return old
        return present.prepared(mark.sha256, mark.desired, mark.bundle)

    return prepare
