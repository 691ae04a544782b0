"""Take in what the services that hold streams saw of devices."""

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from services._chassis.errors import DeniedError, InvalidError, Problem
from services._chassis.logging import get_logger
from services.device.model.credentials import Use
from services.device.model.texts import LONGEST_NOTE, check_text
from services.device.ports import Store
from services.device.usecases.certificates import Vigilance, promote, suspect

MOST_SIGHTINGS = 1000
SEES_RUNS = "policy"
"""The service that hears of the runs of agents. A mark may take a device's policy away, so no other may set it."""

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


async def report_sightings(
    store: Store, sightings: Sequence[Sighting], *, by: str, vigilance: Vigilance, now: datetime
) -> None:
    """Take in what the service `by` saw; again changes nothing, and neither do sightings of devices that are not enrolled.

    Raises DeniedError for a service that cannot have seen that, InvalidError with all problems.
    """
    if by != SEES_RUNS and any(sighting.kind is SightingKind.SUSPECTED_CLONE for sighting in sightings):
        raise DeniedError(f"only {SEES_RUNS} sees two lines of life", reason="CALLER_NOT_ALLOWED")
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
