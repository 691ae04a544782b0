"""Write down what becomes of a device, and list it."""

from datetime import datetime

from services._chassis.caller import current_call
from services._chassis.paging import Page, page_request
from services._chassis.permits import Permit
from services.device.model.history import HistoryEntry, HistoryKind
from services.device.ports import Store
from services.device.usecases.visibility import visible_device


def became(
    device_id: str, kind: HistoryKind, *, before: str = "", after: str, reason: str = "", now: datetime
) -> HistoryEntry:
    """Return the entry with who acts in the running call; without a reason it is the one that came with the call."""
    call = current_call()
    if call is None:
        return HistoryEntry(device_id=device_id, kind=kind, before=before, after=after, reason=reason, at=now)
    return HistoryEntry(
        device_id=device_id,
        kind=kind,
        before=before,
        after=after,
        reason=reason or call.reason,
        at=now,
        actor=call.caller.name,
    )


async def list_history(
    store: Store, device: str, *, permit: Permit, page_size: int, page_token: str
) -> Page[HistoryEntry]:
    """Return a page of what became of a device, newest first. Raises NotFoundError as for the device itself."""
    async with store.read() as work:
        found = visible_device(await work.devices.get(device) or await work.devices.named(device), permit)
        question = f"history of {found.device_id}"
        request = page_request(page_size=page_size, page_token=page_token, question=question, shape=(int,))
        return await work.history.page(found.device_id, request)
