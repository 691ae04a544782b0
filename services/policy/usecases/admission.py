"""Decide whose policy streams are let in, and whose go on.

A device is let in with a certificate that counts: the one in use, or one that was not used yet. The directory tells which
those are; a device of which it tells none is let in with any of its certificates.
"""

from services._chassis.certificates import replaced
from services._chassis.errors import DeniedError, ServiceError, UnavailableError
from services.policy.model.directory import Directory, DirectoryDevice

NOT_ENROLLED = "DEVICE_NOT_ENROLLED"


def is_settled(directory: Directory, device_id: str, serial: str) -> bool:
    """Tell whether there is no point in waiting for a newer directory, to let the device in with this certificate."""
    device = directory.devices.get(device_id)
    return device_id in directory.deleted if device is None else not device.enrolled or device.counts(serial)


def admit(directory: Directory, device_id: str, serial: str) -> DirectoryDevice:
    """Return the device whose certificate opened the stream.

    Raises UnavailableError where the device is not known (yet), DeniedError where it is retired, banned or deleted, and where the
    certificate was replaced.
    """
    device = directory.devices.get(device_id)
    if device is None:
        if device_id in directory.deleted:
            raise DeniedError("the device was deleted; enrol it again", reason="DEVICE_UNKNOWN")
        raise UnavailableError("the directory does not show this device yet; try again", reason="DEVICE_NOT_KNOWN_YET")
    if device.banned:
        raise DeniedError("the device is banned; ask for its ban to be lifted", reason="DEVICE_BANNED")
    if not device.enrolled:
        raise DeniedError("the device is retired; enrol it again with a new token", reason=NOT_ENROLLED)
    if not device.counts(serial):
        raise replaced()
    return device


def ending(directory: Directory, device_id: str, serial: str) -> ServiceError | None:
    """Say why the device's stream is to be cut at once; None if it goes on, or is told farewell as one of a retired device."""
    device = directory.devices.get(device_id)
    if device is not None and not device.enrolled and not device.banned:
        return None
    try:
        admit(directory, device_id, serial)
    except ServiceError as error:
        return error
    return None
