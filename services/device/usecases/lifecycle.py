"""Move the EPM state of devices: by what the policy service reports, and by the time."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from services._chassis.audit import AuditEntry
from services._chassis.errors import InvalidError, Problem
from services._chassis.logging import get_logger
from services.device.model.devices import Device
from services.device.model.lifecycle import Lifecycle, SettingsReport, is_due, settle, settle_time
from services.device.ports import Store, Work

log = get_logger("device.lifecycle")
MOST_REPORTS = 1000
SWEEP_BATCH = 200


async def report_settings(
    store: Store, reports: Sequence[SettingsReport], *, now: datetime, deprovision_after: timedelta
) -> None:
    """Take in settings states; again, or older than what is known, changes nothing. Raises InvalidError.

    Devices that are not known are passed over: the policy service works from a directory that may be newer or older.
    """
    if problems := list(_problems(reports)):
        raise InvalidError(problems)
    async with store.transaction() as work:
        devices = dict(await work.devices.many({report.device_id for report in reports}))
        for report in reports:
            device = devices.get(report.device_id)
            if device is None:
                log.info("settings_state_passed_over", device_id=report.device_id)
                continue
            steps = settle(device.lifecycle, report, now=now, deprovision_after=deprovision_after)
            devices[report.device_id] = await _move(work, device, steps, now)


async def sweep(store: Store, *, now: datetime) -> int:
    """Move a batch of the devices whose time has come to DEPROVISIONING; return how many there were to look at.

    A device is moved only if it is due still, in the transaction that moves it: a policy may have returned meanwhile, and
    another replica may have been faster.
    """
    async with store.read() as work:
        seen = await work.devices.due(now, limit=SWEEP_BATCH)
    if not seen:
        return 0
    async with store.transaction() as work:
        current = await work.devices.many(device.device_id for device in seen)
        for device in seen:
            found = current.get(device.device_id)
            if found is not None and is_due(found.lifecycle, now):
                await _move(work, found, (settle_time(found.lifecycle, now),), now)
    return len(seen)


async def _move(work: Work, device: Device, steps: Iterable[Lifecycle], now: datetime) -> Device:
    """Keep the last step and record each that entered another state."""
    moved = device
    for step in steps:
        if step.state is not moved.lifecycle.state:
            await work.audit(_entry(device.device_id, moved.lifecycle, step), now=now)
        moved = replace(moved, lifecycle=step)
    if moved is device:
        return device
    if moved.seen_by_others() != device.seen_by_others():
        moved = replace(moved, revision=await work.next_revision())
    await work.devices.save(moved)
    return moved


def _entry(device_id: str, before: Lifecycle, after: Lifecycle) -> AuditEntry:
    return AuditEntry(
        action="epm_state_changed",
        target_kind="device",
        target=device_id,
        before={"epm_state": before.state.value, "desired": before.desired.value},
        after={
            "epm_state": after.state.value,
            "desired": after.desired.value,
            "deprovision_time": after.deprovision_time.isoformat() if after.deprovision_time else "",
        },
        details={"policy_revision": str(after.policy_revision)},
    )


def _problems(reports: Sequence[SettingsReport]) -> Iterator[Problem]:
    if len(reports) > MOST_REPORTS:
        yield Problem("states", f"has {len(reports)} entries; at most {MOST_REPORTS} are allowed in one call")
