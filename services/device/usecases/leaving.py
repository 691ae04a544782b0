"""Let devices go: retire them, ban them, delete them.

- A retired device keeps its record, name and history, and takes them up again when it enrols.
- A banned one keeps its name and keys from enrolling until the ban is lifted; then it is retired.
- Of a deleted one a tombstone is left, for those who follow the directory. Audit records stay.
"""

from dataclasses import replace
from datetime import datetime

from services._chassis.audit import AuditEntry
from services._chassis.errors import InvalidError, StateError
from services._chassis.logging import get_logger
from services._chassis.permits import Permit
from services.device.model.devices import Device, EnrolmentState
from services.device.model.groups import without_member
from services.device.model.history import HistoryKind
from services.device.model.texts import LONGEST_NOTE, check_text
from services.device.ports import Store, Work
from services.device.usecases.history import became
from services.device.usecases.visibility import visible_device

log = get_logger("device.leaving")


async def retire_device(store: Store, device_id: str, *, reason: str, permit: Permit, now: datetime) -> Device:
    """Take the device's credentials away; again changes nothing. Raises NotFoundError, InvalidError, and StateError for a ban."""
    async with store.transaction() as work:
        device = await _found(work, device_id, reason, permit)
        if device.is_banned:
            raise StateError("the device is banned, which is more than retired; lift the ban to have it retired")
        return await _moved(work, device, EnrolmentState.RETIRED, "device_retired", reason=reason, now=now)


async def ban_device(store: Store, device_id: str, *, reason: str, permit: Permit, now: datetime) -> Device:
    """Take the device's credentials away, and let neither its name nor its keys enrol; again changes nothing.

    Raises NotFoundError and InvalidError.
    """
    async with store.transaction() as work:
        device = await _found(work, device_id, reason, permit)
        return await _moved(work, device, EnrolmentState.BANNED, "device_banned", reason=reason, now=now)


async def lift_ban(store: Store, device_id: str, *, reason: str, permit: Permit, now: datetime) -> Device:
    """Have a banned device retired; a retired one stays as it is.

    Raises NotFoundError, InvalidError, and StateError for an enrolled device.
    """
    async with store.transaction() as work:
        device = await _found(work, device_id, reason, permit)
        if device.is_enrolled:
            raise StateError("the device is enrolled, and there is no ban to lift; retire it if it is to go")
        return await _moved(work, device, EnrolmentState.RETIRED, "device_ban_lifted", reason=reason, now=now)


async def delete_device(store: Store, device_id: str, *, reason: str, permit: Permit, now: datetime) -> None:
    """Remove the device with its history, and from the groups that list it. Raises NotFoundError and InvalidError."""
    async with store.transaction() as work:
        device = await _found(work, device_id, reason, permit)
        await _leave_groups(work, device, now)
        await work.history.forget(device_id)
        await work.identities.bury(device_id, await work.next_revision())
        entry = AuditEntry(
            action="device_deleted", target_kind="device", target=device_id, before=device.shown(), reason=reason
        )
        await work.audit(entry, now=now)
    log.info("device_deleted", device_id=device_id)


async def _found(work: Work, device_id: str, reason: str, permit: Permit) -> Device:
    device = visible_device(await work.devices.get(device_id), permit)
    if problems := list(check_text("reason", reason, LONGEST_NOTE)):
        raise InvalidError(problems)
    return device


async def _moved(
    work: Work, device: Device, enrolment: EnrolmentState, action: str, *, reason: str, now: datetime
) -> Device:
    if device.enrolment is enrolment:
        return device
    moved = replace(
        device,
        enrolment=enrolment,
        credentials=device.credentials.ended_all(),
        version=device.version + 1,
        revision=await work.next_revision(),
    )
    await work.devices.save(moved)
    entry = AuditEntry(
        action=action,
        target_kind="device",
        target=device.device_id,
        before=device.shown(),
        after=moved.shown(),
        reason=reason,
    )
    await work.audit(entry, now=now)
    before, after = device.enrolment.value, enrolment.value
    await work.history.add(
        became(device.device_id, HistoryKind.ENROLMENT, before=before, after=after, reason=reason, now=now)
    )
    log.info(action, device_id=device.device_id)
    return moved


async def _leave_groups(work: Work, device: Device, now: datetime) -> None:
    """Take the device's name from the groups that list it, unless another enrolled device has the name by now."""
    holder = await work.devices.named(device.name)
    if holder is not None and holder.device_id != device.device_id:
        return
    for group in await work.memberships.concerning(device.name):
        if device.name not in group.members:
            continue
        left = replace(without_member(group, device.name), revision=await work.next_revision())
        await work.groups.save(left)
        entry = AuditEntry(
            action="group_member_removed",
            target_kind="group",
            target=group.name,
            details={"member": device.name, "device_id": device.device_id},
        )
        await work.audit(entry, now=now)
