"""Work out what settings policies want of devices, and whether the devices know; prepare the documents that say so."""

from collections.abc import Sequence

from services._chassis.errors import UnavailableError
from services.policy.model.delivery import Delivery, SettingsState
from services.policy.ports import Deliveries, DeliveryChanges
from services.policy.usecases.documents import Made, PolicyBook


async def survey(
    book: PolicyBook, deliveries: Deliveries, changes: DeliveryChanges, device_ids: Sequence[str]
) -> list[SettingsState]:
    """Return the states of the devices; for each whose document is another one now, a new revision is waiting afterwards.

    Devices that the directory has lost meanwhile are passed over.
    """
    revision = book.revision
    known = await deliveries.many(device_ids)
    states: list[SettingsState] = []
    for device_id, delivery in known.items():
        try:
            made = book.make(book.basis(device_id))
        except UnavailableError:
            continue
        kept = await _prepared(changes, delivery, made)
        states.append(
            SettingsState(
                device_id=device_id,
                desired=made.desired,
                acknowledged=kept.acknowledged(made.desired),
                revision=revision,
            )
        )
    return states


async def _prepared(changes: DeliveryChanges, delivery: Delivery, made: Made) -> Delivery:
    if delivery.revision and delivery.sha256 == made.sha256:
        return delivery
    return await changes.change(delivery.device_id, lambda old: old.prepared(made.sha256, made.desired))
