"""Lead devices through lifecycles, and write down every state that they enter."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime

from services._chassis.audit import AuditEntry
from services.device.model.devices import Device
from services.device.model.history import HistoryEntry, HistoryKind
from services.device.model.lifecycle import Lifecycle
from services.device.model.reasons import move_reason
from services.device.ports import Work
from services.device.usecases.history import became


class Moves:
    """Collect what becomes of devices, and write it in few statements."""

    def __init__(self, devices: Mapping[str, Device], *, now: datetime) -> None:
        self.before = devices
        self.after = dict(devices)
        self._now = now
        self._entries: list[AuditEntry] = []
        self._history: list[HistoryEntry] = []

    def take(self, device: Device, steps: Iterable[Lifecycle]) -> None:
        """Lead the device through the steps, and record each that enters another state."""
        for step in steps:
            if step.state is not device.lifecycle.state:
                self._record(device, step)
            device = replace(device, lifecycle=step)
        self.after[device.device_id] = device

    async def keep(self, work: Work) -> None:
        """Write the devices that differ; what others see of one takes a revision."""
        changed: list[Device] = []
        for device_id, device in self.after.items():
            before = self.before[device_id]
            if device.seen_by_others() != before.seen_by_others():
                self.after[device_id] = replace(device, revision=await work.next_revision())
            if device != before:
                changed.append(self.after[device_id])
        await work.devices.save(*changed)
        await work.history.add(*self._history)
        await work.audit(*self._entries, now=self._now)

    def _record(self, device: Device, after: Lifecycle) -> None:
        reason = move_reason(device.lifecycle, after, device.facts.os, quarantined=device.quarantined)
        moved, entry = _move(device, after, reason, now=self._now)
        self._history.append(moved)
        self._entries.append(entry)


async def record_new_beginning(work: Work, before: Device, after: Device, *, now: datetime) -> None:
    """Write down the EPM state of a device that enrolled again, if its lifecycle began anew in another one."""
    if after.lifecycle.state is not before.lifecycle.state:
        moved, entry = _move(before, after.lifecycle, "The device enrolled again.", now=now)
        await work.history.add(moved)
        await work.audit(entry, now=now)


def _move(device: Device, after: Lifecycle, reason: str, *, now: datetime) -> tuple[HistoryEntry, AuditEntry]:
    before = device.lifecycle
    moved = became(
        device.device_id,
        HistoryKind.EPM_STATE,
        before=before.state.value,
        after=after.state.value,
        reason=reason,
        now=now,
    )
    entry = AuditEntry(
        action="epm_state_changed",
        target_kind="device",
        target=device.device_id,
        before=_shown(before),
        after=_shown(after),
        reason=reason,
        details={"policy_revision": str(after.policy_revision)},
    )
    return moved, entry


def _shown(lifecycle: Lifecycle) -> dict[str, str]:
    time = lifecycle.deprovision_time
    return {
        "epm_state": lifecycle.state.value,
        "desired": lifecycle.desired.value,
        "deprovision_time": time.isoformat() if time else "",
    }
