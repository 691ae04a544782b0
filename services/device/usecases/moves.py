"""Lead devices through lifecycles, and write down every state that they enter."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime

from services._chassis.audit import AuditEntry
from services.device.model.devices import Device
from services.device.model.history import HistoryEntry, HistoryKind
from services.device.model.lifecycle import EpmState, Lifecycle
from services.device.model.reasons import move_reason
from services.device.ports import Work
from services.device.usecases.history import became

ENROLLED_AGAIN = "The device enrolled again: it may hold nothing of what it acknowledged before."


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


async def record_beginning(work: Work, before: Device | None, after: Device, *, now: datetime) -> None:
    """Write down in which EPM state a device begins, or begins anew, if that is another one than it had, or than others have."""
    had = before.lifecycle if before else Lifecycle()
    if after.lifecycle.state is had.state:
        return
    again = before is not None and after.lifecycle.state is not EpmState.NOT_APPLICABLE
    reason = ENROLLED_AGAIN if again else move_reason(had, after.lifecycle, after.facts.os)
    moved, entry = _move(replace(after, lifecycle=had), after.lifecycle, reason, now=now)
    await work.history.add(moved if before else replace(moved, before=""))
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
