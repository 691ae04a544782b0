"""Take in what the services that hold streams saw of devices."""

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from services._chassis.errors import InvalidError, Problem
from services._chassis.logging import get_logger
from services.device.model.credentials import Use
from services.device.model.texts import LONGEST_NOTE, check_text
from services.device.ports import Store
from services.device.usecases.certificates import Vigilance, promote, suspect

MOST_SIGHTINGS = 1000
log = get_logger("device.sightings")


class SightingKind(enum.Enum):
    """Say what was seen of a device."""

    CERTIFICATE_USED = "CERTIFICATE_USED"
    SUSPECTED_CLONE = "SUSPECTED_CLONE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """Hold one thing that a service saw of a device."""

    device_id: str
    kind: SightingKind
    serial: str = ""
    detail: str = ""


async def report_sightings(store: Store, sightings: Sequence[Sighting], *, vigilance: Vigilance, now: datetime) -> None:
    """Take in sightings; again changes nothing, and neither do those of devices that are not enrolled. Raises InvalidError."""
    if problems := list(_problems(sightings)):
        raise InvalidError(problems)
    async with store.transaction() as work:
        for sighting in sightings:
            device = await work.devices.get(sighting.device_id)
            if device is None or not device.is_enrolled:
                log.info("sighting_passed_over", device_id=sighting.device_id, kind=sighting.kind.value)
            elif sighting.kind is SightingKind.SUSPECTED_CLONE:
                await suspect(work, device, sighting.detail, vigilance=vigilance, now=now)
            elif device.use_of(sighting.serial) is Use.FIRST:
                await promote(work, device, now)


def _problems(sightings: Sequence[Sighting]) -> Iterator[Problem]:
    if len(sightings) > MOST_SIGHTINGS:
        yield Problem("sightings", f"has {len(sightings)} entries; at most {MOST_SIGHTINGS} are allowed in one call")
        return
    for number, sighting in enumerate(sightings):
        at = f"sightings[{number}]"
        if sighting.kind is SightingKind.CERTIFICATE_USED and not sighting.serial:
            yield Problem(f"{at}.certificate_serial", "is missing; name the certificate that was used")
        if sighting.kind is not SightingKind.CERTIFICATE_USED and sighting.serial:
            yield Problem(f"{at}.certificate_serial", "belongs to CERTIFICATE_USED alone; leave it out")
        yield from check_text(f"{at}.detail", sighting.detail, LONGEST_NOTE)
