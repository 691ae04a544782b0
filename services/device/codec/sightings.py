"""What other services saw of devices."""

from collections.abc import Sequence

from epm.device.v1 import lifecycle_pb2
from services._chassis.errors import InvalidError, Problem
from services.device.usecases.sightings import Sighting, SightingKind

_KINDS = {
    lifecycle_pb2.SIGHTING_KIND_CERTIFICATE_USED: SightingKind.CERTIFICATE_USED,
    lifecycle_pb2.SIGHTING_KIND_SUSPECTED_CLONE: SightingKind.SUSPECTED_CLONE,
}


def sightings_from_proto(messages: Sequence[lifecycle_pb2.Sighting]) -> list[Sighting]:
    """Read sightings. Raises InvalidError with every kind that means nothing."""
    if problems := [
        Problem(f"sightings[{number}].kind", "must be CERTIFICATE_USED or SUSPECTED_CLONE")
        for number, message in enumerate(messages)
        if message.kind not in _KINDS
    ]:
        raise InvalidError(problems)
    return [
        Sighting(
            device_id=message.device_id,
            kind=_KINDS[message.kind],
            serial=message.certificate_serial,
            detail=message.detail,
        )
        for message in messages
    ]
