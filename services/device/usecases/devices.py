"""Look at devices, say what is known of them, and that one which looked like two is one again."""

from dataclasses import dataclass, replace
from datetime import datetime

from services._chassis.audit import AuditEntry
from services._chassis.errors import ConflictError, InvalidError, Problem
from services._chassis.expected import present_state
from services._chassis.paging import Page, page_request
from services._chassis.permits import Permit
from services.device.model.devices import Attested, Device, check_attested
from services.device.model.history import HistoryKind
from services.device.model.texts import LONGEST_NOTE, check_text
from services.device.ports import Store
from services.device.usecases.history import became
from services.device.usecases.members import groups_of
from services.device.usecases.reach import refuse_other_reach
from services.device.usecases.visibility import Standing, refuse_foreign_tags, visible_device


@dataclass(frozen=True, slots=True)
class DeviceChange:
    """Say what an administrator wants a device to be, and against which etag."""

    device_id: str
    attested: Attested
    etag: str
    unreadable: tuple[Problem, ...] = ()
    """What is wrong with parts that cannot even be read."""


@dataclass(frozen=True, slots=True)
class ShownDevice:
    """Hold a device and the names of the groups that it is in, as far as the caller may see those."""

    device: Device
    groups: tuple[str, ...]


async def get_device(store: Store, device: str, *, permit: Permit, standing: Standing) -> ShownDevice:
    """Return a device by its id, or an enrolled one by its name, and its groups. Raises NotFoundError."""
    async with store.read() as work:
        found = visible_device(await work.devices.get(device) or await work.devices.named(device), permit)
        return ShownDevice(found, await groups_of(work, found, standing=standing))


async def list_devices(store: Store, *, permit: Permit, page_size: int, page_token: str) -> Page[Device]:
    """Return a page of the devices that the caller may see, by name."""
    request = page_request(page_size=page_size, page_token=page_token, question="devices", shape=(str, str))
    async with store.read() as work:
        return await work.devices.page(request, permit.visible_tags())


async def update_device(
    store: Store, change: DeviceChange, *, permit: Permit, standing: Standing, now: datetime
) -> Device:
    """Replace what administrators say of a device, in lists that are sorted; what it is already changes nothing.

    Raises NotFoundError, InvalidError with all problems, DeniedError for scope tags out of the caller's scope and for what
    brings the device within reach of policies that are not the caller's to assign, and ConflictError for a stale etag.
    """
    async with store.transaction() as work:
        device = visible_device(await work.devices.get(change.device_id), permit)
        _check_change(change)
        if change.attested == device.attested:
            return device  # also when a change is repeated whose answer was lost, and whose etag is old by now
        if change.etag != device.etag:
            raise ConflictError(
                "the device was changed since; read it again and repeat the change",
                stale=True,
                details=present_state(device.etag),
            )
        refuse_foreign_tags(permit, change.attested.scope_tags, device.attested.scope_tags)
        if missing := standing.missing("device.scope_tags", change.attested.scope_tags, device.attested.scope_tags):
            raise InvalidError(missing)
        await refuse_other_reach(work, standing, before=device.attested, after=change.attested)
        updated = replace(
            device, attested=change.attested, version=device.version + 1, revision=await work.next_revision()
        )
        await work.devices.save(updated)
        await work.audit(_entry("device_updated", device, updated), now=now)
    return updated


async def clear_suspected_clone(store: Store, device_id: str, *, reason: str, permit: Permit, now: datetime) -> Device:
    """Take the mark of a clone away, and with it the quarantine; again changes nothing. Raises NotFoundError and InvalidError."""
    async with store.transaction() as work:
        device = visible_device(await work.devices.get(device_id), permit)
        if problems := list(check_text("reason", reason, LONGEST_NOTE)):
            raise InvalidError(problems)
        if device.suspected_clone is None:
            return device
        cleared = replace(device, suspected_clone=None, quarantined=False)
        if cleared.seen_by_others() != device.seen_by_others():
            cleared = replace(cleared, revision=await work.next_revision())
        await work.devices.save(cleared)
        entry = AuditEntry(
            action="suspected_clone_cleared",
            target_kind="device",
            target=device_id,
            before=device.shown_suspicion(),
            after=cleared.shown_suspicion(),
            reason=reason,
        )
        await work.audit(entry, now=now)
        before = "QUARANTINED" if device.quarantined else "SUSPECTED"
        kind = HistoryKind.SUSPECTED_CLONE
        await work.history.add(became(device_id, kind, before=before, after="CLEARED", reason=reason, now=now))
    return cleared


def _check_change(change: DeviceChange) -> None:
    problems = [*check_attested("device", change.attested), *change.unreadable]
    if not change.attested.scope_tags:
        problems.append(Problem("device.scope_tags", "must not be empty; name one, for example default"))
    if not change.etag:
        problems.append(Problem("device.etag", "is missing; send the one of the device as you read it"))
    if problems:
        raise InvalidError(problems)


def _entry(action: str, before: Device, after: Device) -> AuditEntry:
    return AuditEntry(
        action=action, target_kind="device", target=after.device_id, before=before.shown(), after=after.shown()
    )
