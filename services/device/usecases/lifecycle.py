"""Move the EPM state of devices: by what the policy service reports, and by the time."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from services._chassis.audit import AuditEntry
from services._chassis.errors import InvalidError, Problem
from services._chassis.logging import get_logger
from services.device.model.devices import Device
from services.device.model.lifecycle import Lifecycle, SettingsReport, settle, settle_time
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
        moves = _Moves(await work.devices.many({report.device_id for report in reports}))
        for report in reports:
            device = moves.after.get(report.device_id)
            if device is None:
                log.info("settings_state_passed_over", device_id=report.device_id)
                continue
            steps = settle(device.lifecycle, report, now=now, deprovision_after=deprovision_after)
            moves.take(device, steps)
        await moves.keep(work, now)


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
        moves = _Moves(await work.devices.many(device.device_id for device in seen))
        for device in moves.before.values():
            moves.take(device, (settle_time(device.lifecycle, now),))
        await moves.keep(work, now)
    return len(seen)


class _Moves:
    """Collect what becomes of devices, and write it in few statements."""

    def __init__(self, devices: Mapping[str, Device]) -> None:
        self.before = devices
        self.after = dict(devices)
        self._entries: list[AuditEntry] = []

    def take(self, device: Device, steps: Iterable[Lifecycle]) -> None:
        """Lead the device through the steps, and record each that enters another state."""
        for step in steps:
            if step.state is not device.lifecycle.state:
                self._entries.append(_entry(device.device_id, device.lifecycle, step))
            device = replace(device, lifecycle=step)
        self.after[device.device_id] = device

    async def keep(self, work: Work, now: datetime) -> None:
        """Write the devices that differ; what others see of one takes a revision."""
        changed: list[Device] = []
        for device_id, device in self.after.items():
            before = self.before[device_id]
            if device.seen_by_others() != before.seen_by_others():
                changed.append(replace(device, revision=await work.next_revision()))
            elif device != before:
                changed.append(device)
        await work.devices.save(*changed)
        await work.audit(*self._entries, now=now)


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
