"""Hear from the agents of devices: that they are alive, what they see, and whether the component is there."""

from dataclasses import replace
from datetime import datetime, timedelta

from services._chassis.audit import AuditEntry
from services._chassis.errors import DeniedError, InvalidError, Problem
from services._chassis.logging import get_logger
from services.device.model.devices import Device, Facts, check_facts, shown_facts
from services.device.model.lifecycle import settle_check_in
from services.device.ports import Store, Work
from services.device.usecases.bounds import CHANGES, Bounds
from services.device.usecases.moves import Moves

SIGN_OF_LIFE = timedelta(seconds=1)
"""A sign of life so soon after another one is no news, and waits for no writer: one device must not hold all others up."""

log = get_logger("device.check_in")


async def check_in(
    store: Store,
    device_id: str,
    named: str,
    facts: Facts,
    *,
    component_gone: bool | None = False,
    bounds: Bounds,
    now: datetime,
) -> Device:
    """Note that the device is alive and what it reports; `named` is the device that the message names, if any.

    Of `component_gone` None says that the agent told what nobody knows.

    What is due moves on, and only then a component that is gone confirms its removal: a removal on time counts also where
    no sweep has come by yet. Where facts change too often the old ones stay; the sign of life counts. Raises DeniedError for a device that names another, is not known or is retired; InvalidError
    with all problems.
    """
    if named and named != device_id:
        raise DeniedError(
            "the message names another device than the certificate; enrol again", reason="DEVICE_MISMATCH"
        )
    async with store.read() as work:
        known = _admitted(await work.devices.get(device_id))
    problems = list(check_facts("facts", facts))
    if component_gone is None:
        problems.append(Problem("component", "must be PRESENT or ABSENT; leave it out if not known"))
    if problems or component_gone is None:
        raise InvalidError(problems)
    if _is_no_news(known, facts, component_gone=component_gone, bounds=bounds, now=now):
        return known
    async with store.transaction() as work:
        device = _admitted(await work.devices.get(device_id))
        told = await _told(work, device, facts, bounds, now=now)
        seen = replace(told, lifecycle=device.lifecycle, last_check_in=now)
        moves = Moves({device_id: device}, now=now)
        moves.take(seen, settle_check_in(device.lifecycle, seen.facts.os, now=now, component_gone=component_gone))
        await _audit_facts(work, device, seen, now)
        await moves.keep(work)
    return moves.after[device_id]


def _is_no_news(device: Device, facts: Facts, *, component_gone: bool, bounds: Bounds, now: datetime) -> bool:
    """Tell whether nothing would be written but that the device is still alive, of which it has spoken just now."""
    last = device.last_check_in
    if last is None or not timedelta() <= now - last < SIGN_OF_LIFE:
        return False
    if device.with_facts(facts) != device and not bounds.passes_over(device.device_id):
        return False
    steps = settle_check_in(device.lifecycle, device.facts.os, now=now, component_gone=component_gone)
    return all(step == device.lifecycle for step in steps)


def _admitted(device: Device | None) -> Device:
    if device is None:
        raise DeniedError("this device is not known here; enrol it again", reason="DEVICE_UNKNOWN")
    if not device.is_enrolled:
        raise DeniedError("this device is retired; enrol it again with a new token", reason="DEVICE_NOT_ENROLLED")
    return device


async def _told(work: Work, device: Device, facts: Facts, bounds: Bounds, *, now: datetime) -> Device:
    """Return the device with what its agent reports; as it was, and once with a word, where that changes too often."""
    told = device.with_facts(facts)
    if told.facts == device.facts or bounds.may_change(device.device_id):
        return told
    if bounds.is_news(device.device_id):
        log.warning("device_facts_not_taken", device_id=device.device_id, most_in_an_hour=CHANGES)
        reason = f"The facts changed more than {CHANGES} times in an hour; the old ones stay meanwhile."
        entry = AuditEntry(
            action="device_facts_not_taken", target_kind="device", target=device.device_id, reason=reason
        )
        await work.audit(entry, now=now)
    return device


async def _audit_facts(work: Work, before: Device, after: Device, now: datetime) -> None:
    """Record facts that changed; a mere sign of life is not recorded."""
    if after.facts != before.facts:
        entry = AuditEntry(
            action="device_facts_changed",
            target_kind="device",
            target=after.device_id,
            before={**shown_facts(before.facts), "users": list(before.facts.users)},
            after={**shown_facts(after.facts), "users": list(after.facts.users)},
        )
        await work.audit(entry, now=now)
