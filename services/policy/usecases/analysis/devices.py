"""Look at single devices that the caller may see, and at the settings that count there."""

from collections.abc import Iterator

from services._chassis.errors import NotFoundError, Problem
from services._chassis.permits import Permit
from services.policy.model.directory import Directory, DirectoryDevice
from services.policy.model.origins import EffectiveSettings, traced
from services.policy.usecases.analysis.drafted import Drafted, hidden


def device_problems(device: str) -> Iterator[Problem]:
    """Find what is wrong with how a device is named."""
    if not device:
        yield Problem("device", "is missing; give the name or the identifier of a device")


def visible_device(directory: Directory, named: str, permit: Permit) -> DirectoryDevice:
    """Return a device by its identifier or name. Raises NotFoundError where there is none, or none that may be seen."""
    by_id = directory.devices.get(named)
    candidates = [by_id] if by_id else [device for device in directory.devices.values() if device.name == named]
    seen = [device for device in candidates if permit.sees(device.scope_tags)]
    if not seen:
        raise NotFoundError(f'there is no device "{named}"; list them for their names')
    # A name may have been another device's before; the one that is enrolled counts.
    return min(seen, key=lambda device: (not device.enrolled, device.device_id))


def effective_settings(there: Drafted, device: DirectoryDevice, user: str, permit: Permit) -> EffectiveSettings:
    """Return the settings by which the device decides for the user, with their origins."""
    settings = there.effective.document(device).user_policy(user).settings
    policies = there.effective.settings_policies(device, user)
    return traced(settings, policies, hidden(there.corpus.settings_policies, permit))
