"""Tell what applies to a device, or to a user on it, and why."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from elevation.model import RulesPolicy, SettingsPolicy
from elevation.reach import Seen
from services._chassis.errors import Problem
from services._chassis.permits import Permit
from services.policy.model.directory import DirectoryDevice
from services.policy.model.effective import governed
from services.policy.model.objects import Stored
from services.policy.model.origins import EffectiveSettings
from services.policy.model.reach import Reach, Viewpoint, reach_of, without_name
from services.policy.usecases.analysis.devices import device_problems, effective_settings, visible_device
from services.policy.usecases.analysis.drafted import Drafted, Drafting, Overlay


@dataclass(frozen=True, slots=True, kw_only=True)
class ReachWanted:
    """Say of whom it is asked what applies; `flaws` could not be read."""

    device: str
    """Name or identifier."""
    user: str = ""
    """Empty: whoever comes to the device and is not bound to it."""
    overlay: Overlay = field(default_factory=Overlay)
    with_others: bool = False
    flaws: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectivePolicy:
    """Say what applies to somebody, and why."""

    device: DirectoryDevice
    device_groups: tuple[str, ...]
    user_groups: tuple[str, ...]
    settings: EffectiveSettings
    policies: tuple[Reach, ...]
    withheld_because: str
    """Empty: policies count."""


async def effective_policy(
    drafting: Drafting, wanted: ReachWanted, *, permit: Permit, now: datetime
) -> EffectivePolicy:
    """Return what applies. Raises InvalidError with all problems, NotFoundError for a device, UnavailableError."""
    problems = [*wanted.flaws, *device_problems(wanted.device)]
    there = await drafting.drafted(await drafting.stored(), wanted.overlay, permit, now=now, beside=problems)
    device = visible_device(there.directory, wanted.device, permit)
    user = wanted.user if wanted.user in device.users else ""
    memberships = there.effective.memberships(device, user)
    reaches = tuple(_reaches(there, device, wanted, permit)) if governed(device) else ()
    return EffectivePolicy(
        device=device,
        device_groups=tuple(sorted(memberships.device_groups)),
        user_groups=tuple(sorted(memberships.user_groups)),
        settings=effective_settings(there, device, wanted.user, permit),
        policies=tuple(sorted(reaches, key=_place)),
        withheld_because=_withheld(device),
    )


def _reaches(there: Drafted, device: DirectoryDevice, wanted: ReachWanted, permit: Permit) -> Iterator[Reach]:
    user = wanted.user if wanted.user in device.users else ""
    settings = there.effective.document(device).user_policy(user).settings
    view = Viewpoint(
        seen=Seen(device.name, user, there.effective.memberships(device, user)),
        types=there.effective.index.types,
        groups=there.directory.groups,
        asked=wanted.user,
        provisioned=settings is not None,
    )
    policies: tuple[Stored[SettingsPolicy] | Stored[RulesPolicy], ...] = (
        *there.corpus.settings_policies,
        *there.corpus.rules_policies,
    )
    for stored in policies:
        reach = reach_of(stored, view)
        visible = permit.sees(stored.about.scope_tags)
        if reach.applies:
            yield reach if visible else without_name(reach)
        elif wanted.with_others and visible:
            yield reach


def _place(reach: Reach) -> tuple[bool, bool, str]:
    return not reach.applies, reach.kind is RulesPolicy, reach.name


def _withheld(device: DirectoryDevice) -> str:
    if not device.enrolled:
        return f"{device.name} has no credentials: it was retired or banned, or its enrolment is not complete"
    return (
        f"{device.name} is quarantined until somebody clears the suspicion that it is two" if device.quarantined else ""
    )
