"""Work out what settings policies want of devices, and whether the devices know; prepare the documents that say so."""

from collections.abc import Callable, Sequence

from services._chassis.errors import UnavailableError
from services.policy.model.delivery import Delivery, SettingsState
from services.policy.ports import Deliveries
from services.policy.usecases.documents import Made, PolicyBook


async def survey(book: PolicyBook, deliveries: Deliveries, device_ids: Sequence[str]) -> list[SettingsState]:
    """Return the states of the devices; for each whose document is another one now, a new revision waits afterwards.

    Devices that the directory has lost meanwhile are passed over.
    """
    revision = book.revision
    made = _make(book, device_ids)
    known = dict(await deliveries.many(made.keys()))
    behind = [device_id for device_id, delivery in known.items() if _differs(delivery, made[device_id])]
    if behind:
        changed = await deliveries.change([(device_id, _preparing(made[device_id])) for device_id in behind])
        known.update(zip(behind, changed, strict=True))
    return [
        SettingsState(
            device_id=device_id,
            desired=made[device_id].desired,
            acknowledged=delivery.acknowledged(made[device_id].desired),
            revision=revision,
        )
        for device_id, delivery in known.items()
    ]


def _make(book: PolicyBook, device_ids: Sequence[str]) -> dict[str, Made]:
    made: dict[str, Made] = {}
    for device_id in device_ids:
        try:
            made[device_id] = book.make(book.basis(device_id))
        except UnavailableError:
            continue
    return made


def _differs(delivery: Delivery, made: Made) -> bool:
    return delivery.revision == 0 or delivery.sha256 != made.sha256


def _preparing(made: Made) -> Callable[[Delivery], Delivery]:
    return lambda old: old.prepared(made.sha256, made.desired)
