"""What the use of a device's certificate says: that it is the device, that a renewal has arrived, or that there are two of it.

A renewal's certificate becomes the one in use by its first use. One that was replaced shows a second line of life: who
shows it is refused, and the device is marked, because a copy of it, or what it was restored from, lives on. One that ended with
an earlier life of the device marks it too, but never takes its policy away: a stolen machine must not harm its successor.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from services._chassis.audit import AuditEntry
from services._chassis.certificates import replaced
from services._chassis.errors import DeniedError
from services._chassis.logging import get_logger
from services.device.model.credentials import Use
from services.device.model.devices import Device
from services.device.model.history import HistoryKind
from services.device.ports import Store, Work
from services.device.usecases.history import became

log = get_logger("device.certificates")
_REPLACED = "its certificate was replaced, and somebody uses it still"
_ENDED = "its certificate ended when the device enrolled anew or left, and somebody uses it still"


@dataclass(frozen=True, slots=True)
class Vigilance:
    """Say what becomes of a device of which two lines of life were seen, beside the mark."""

    quarantines: bool = False
    """Whether it gets no settings and rules until the mark is cleared."""


FLAG = Vigilance()
"""Mark the device, and leave it at that."""


async def admit(store: Store, device_id: str, serial: str, *, vigilance: Vigilance, now: datetime) -> None:
    """Take in that a device shows the certificate with this serial number.

    Raises DeniedError for a device that is not known or not enrolled, and for a certificate that does not count; one that was
    replaced has marked the device by then. Who is refused for what is known already writes nothing and keeps no writer waiting.
    """
    async with store.read() as work:
        device = enrolled(await work.devices.get(device_id))
    use = device.use_of(serial)
    if use is Use.FIRST or (use in {Use.REPLACED, Use.ENDED} and device.suspected_clone is None):
        async with store.transaction() as work:
            device = enrolled(await work.devices.get(device_id))
            match device.use_of(serial):
                case Use.FIRST:
                    device = await promote(work, device, now)
                case Use.REPLACED:
                    await suspect(work, device, _REPLACED, vigilance=vigilance, now=now)
                case Use.ENDED:
                    await suspect(work, device, _ENDED, vigilance=FLAG, now=now)
                case _:
                    pass
    admitted(device, serial)


def admitted(device: Device | None, serial: str) -> Device:
    """Return the device, if it is enrolled and the certificate counts. Raises DeniedError."""
    found = enrolled(device)
    if found.use_of(serial) not in {Use.ORDINARY, Use.FIRST}:
        raise replaced()
    return found


def enrolled(device: Device | None) -> Device:
    """Return the device, if it is known and enrolled. Raises DeniedError."""
    if device is None:
        raise DeniedError("this device is not known here; enrol it again", reason="DEVICE_UNKNOWN")
    if device.is_banned:
        raise DeniedError("this device is banned; ask for its ban to be lifted", reason="DEVICE_BANNED")
    if not device.is_enrolled:
        raise DeniedError("this device is retired; enrol it again with a new token", reason="DEVICE_NOT_ENROLLED")
    return device


async def promote(work: Work, device: Device, now: datetime) -> Device:
    """Make the certificate that waited for its first use the one in use; the old one counts no more."""
    old, new = device.credentials.current, device.credentials.unused
    promoted = replace(device, credentials=device.credentials.promoted(), revision=await work.next_revision())
    await work.devices.save(promoted)
    entry = AuditEntry(
        action="certificate_promoted",
        target_kind="device",
        target=device.device_id,
        before=old.shown() if old else None,
        after=new.shown() if new else None,
    )
    await work.audit(entry, now=now)
    before, after = old.serial if old else "", new.serial if new else ""
    reason = "it was used for the first time; the old one counts no more"
    await work.history.add(
        became(device.device_id, HistoryKind.CERTIFICATE, before=before, after=after, reason=reason, now=now)
    )
    log.info("certificate_promoted", device_id=device.device_id)
    return promoted


async def suspect(work: Work, device: Device, detail: str, *, vigilance: Vigilance, now: datetime) -> None:
    """Mark the device, because two lines of life were seen under its identity; a mark that stands stays as it is."""
    if device.suspected_clone is not None:
        return
    marked = replace(device, suspected_clone=now, quarantined=vigilance.quarantines)
    if marked.quarantined:
        marked = replace(marked, revision=await work.next_revision())
    await work.devices.save(marked)
    entry = AuditEntry(
        action="clone_suspected",
        target_kind="device",
        target=device.device_id,
        before=device.shown_suspicion(),
        after=marked.shown_suspicion(),
        details={"seen": detail},
    )
    await work.audit(entry, now=now)
    after = "QUARANTINED" if marked.quarantined else "SUSPECTED"
    await work.history.add(became(device.device_id, HistoryKind.SUSPECTED_CLONE, after=after, reason=detail, now=now))
    log.warning("clone_suspected", device_id=device.device_id, quarantined=marked.quarantined)
