"""What was seen of devices on their streams, and is for the device service to judge."""

import enum
from dataclasses import dataclass


class SightingKind(enum.Enum):
    """Say what was seen."""

    CERTIFICATE_USED = "certificate-used"
    SUSPECTED_CLONE = "suspected-clone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """Tell one thing that was seen of one device."""

    device_id: str
    kind: SightingKind
    certificate_serial: str = ""
    """The certificate that was used; empty for any other kind."""
    detail: str = ""
    """What was seen, in one sentence, for history and audit."""


def certificate_used(device_id: str, serial: str) -> Sighting:
    """Tell that a certificate was used for the first time."""
    detail = "it opened a policy stream"
    return Sighting(device_id=device_id, kind=SightingKind.CERTIFICATE_USED, certificate_serial=serial, detail=detail)


def suspected_clone(device_id: str) -> Sighting:
    """Tell that two lines of life alternate under one identity."""
    detail = "policy streams of two runs of the agent alternate"
    return Sighting(device_id=device_id, kind=SightingKind.SUSPECTED_CLONE, detail=detail)
