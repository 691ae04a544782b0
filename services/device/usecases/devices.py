"""Look at devices, say what is known of them, retire them; and hear from their agents."""

from dataclasses import dataclass, replace
from datetime import datetime

from services._chassis.audit import AuditEntry
from services._chassis.errors import ConflictError, DeniedError, InvalidError, Problem
from services._chassis.paging import Page, page_request
from services._chassis.permits import Permit
from services.device.model.devices import (
    Attested,
    Device,
    EnrolmentState,
    Facts,
    check_attested,
    check_facts,
    shown_facts,
)
from services.device.model.texts import LONGEST_NOTE, check_text
from services.device.ports import Store, Work
from services.device.usecases.reach import refuse_other_reach
from services.device.usecases.visibility import Standing, refuse_foreign_tags, visible_device


@dataclass(frozen=True, slots=True)
class DeviceChange:
    """Say what an administrator wants a device to be, and against which etag."""

    device_id: str
    attested: Attested
    etag: str


async def check_in(store: Store, device_id: str, named: str, facts: Facts, *, now: datetime) -> Device:
    """Note that the device is alive and what it reports; `named` is the device that the message names, if any.

    Raises DeniedError for a device that names another, is not known or is retired; InvalidError with all problems.
    """
    if named and named != device_id:
        raise DeniedError(
            "the message names another device than the certificate; enrol again", reason="DEVICE_MISMATCH"
        )
    async with store.read() as work:
        _admitted(await work.devices.get(device_id))
    if problems := list(check_facts("facts", facts)):
        raise InvalidError(problems)
    async with store.transaction() as work:
        device = _admitted(await work.devices.get(device_id))
        seen = replace(device.with_facts(facts), last_check_in=now)
        if seen.seen_by_others() != device.seen_by_others():
            seen = replace(seen, revision=await work.next_revision())
        await work.devices.save(seen)
        await _audit_facts(work, device, seen, now)
    return seen


async def get_device(store: Store, device: str, *, permit: Permit) -> Device:
    """Return a device by its id, or an enrolled one by its name. Raises NotFoundError."""
    async with store.read() as work:
        found = await work.devices.get(device) or await work.devices.named(device)
    return visible_device(found, permit)


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
            raise ConflictError("the device was changed since; read it again and repeat the change", stale=True)
        refuse_foreign_tags(permit, change.attested.scope_tags, device.attested.scope_tags)
        await refuse_other_reach(work, standing, before=device.attested, after=change.attested)
        updated = replace(
            device, attested=change.attested, version=device.version + 1, revision=await work.next_revision()
        )
        await work.devices.save(updated)
        await work.audit(_entry("device_updated", device, updated), now=now)
    return updated


async def retire_device(store: Store, device_id: str, *, reason: str, permit: Permit, now: datetime) -> Device:
    """Take the device's credentials away; again changes nothing. Raises NotFoundError and InvalidError."""
    async with store.transaction() as work:
        device = visible_device(await work.devices.get(device_id), permit)
        if problems := list(check_text("reason", reason, LONGEST_NOTE)):
            raise InvalidError(problems)
        if not device.is_enrolled:
            return device
        retired = replace(
            device,
            enrolment=EnrolmentState.RETIRED,
            version=device.version + 1,
            revision=await work.next_revision(),
        )
        await work.devices.save(retired)
        await work.audit(replace(_entry("device_retired", device, retired), reason=reason), now=now)
    return retired


def _admitted(device: Device | None) -> Device:
    if device is None:
        raise DeniedError("this device is not known here; enrol it again", reason="DEVICE_UNKNOWN")
    if not device.is_enrolled:
        raise DeniedError("this device is retired; enrol it again with a new token", reason="DEVICE_NOT_ENROLLED")
    return device


def _check_change(change: DeviceChange) -> None:
    problems = list(check_attested("device", change.attested))
    if not change.attested.scope_tags:
        problems.append(Problem("device.scope_tags", "must not be empty; name one, for example default"))
    if not change.etag:
        problems.append(Problem("device.etag", "is missing; send the one of the device as you read it"))
    if problems:
        raise InvalidError(problems)


async def _audit_facts(work: Work, before: Device, after: Device, now: datetime) -> None:
    """Record facts that changed, and the state that a new platform led to; a mere sign of life is not recorded."""
    if after.facts != before.facts:
        entry = AuditEntry(
            action="device_facts_changed",
            target_kind="device",
            target=after.device_id,
            before={**shown_facts(before.facts), "users": list(before.facts.users)},
            after={**shown_facts(after.facts), "users": list(after.facts.users)},
        )
        await work.audit(entry, now=now)
    if after.lifecycle.state is not before.lifecycle.state:
        moved = AuditEntry(
            action="epm_state_changed",
            target_kind="device",
            target=after.device_id,
            before={"epm_state": before.lifecycle.state.value},
            after={"epm_state": after.lifecycle.state.value},
            reason="the platform of the device changed",
        )
        await work.audit(moved, now=now)


def _entry(action: str, before: Device, after: Device) -> AuditEntry:
    return AuditEntry(
        action=action, target_kind="device", target=after.device_id, before=before.shown(), after=after.shown()
    )
