"""The EPM state of a device: how far its client component is.

Three columns move together: the state, what settings policies want (`desired`), and when the component is to go.

- A settings policy that applies, enabling or disabling, takes the device to PROVISIONING; the device's ACK takes it on to
  ACTIVE or DISABLED. What is not acknowledged yet never takes a device back from there.
- No settings policy applies any more: DEPROVISION_PENDING, with a time to go. A policy that returns cancels that.
- The time has come: DEPROVISIONING, until the agent confirms that the component is gone.
- A platform without a component is NOT_APPLICABLE, whatever policies want; `desired` is kept for the day it has one.
- A loss that is newer than the one that is known: a policy was back in between, and its time counts anew.
- A report that rests on older data than what is known changes nothing, so reports may be repeated and overtake each other.

INVARIANT: there is a `deprovision_time` exactly in DEPROVISION_PENDING and DEPROVISIONING, and `lost` nowhere else.
"""

import enum
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from elevation.model import ReportingScope

SHORTEST_WAIT = timedelta(seconds=1)
LONGEST_AWAITING = timedelta(minutes=1)
"""Longest time between two signs of life of a device whose component is to be gone."""
SUPPORTED_PLATFORMS = frozenset({"windows", "linux", "macos"})


class EpmState(enum.Enum):
    """Say how far the client component of a device is."""

    NOT_PROVISIONED = "NOT_PROVISIONED"
    PROVISIONING = "PROVISIONING"
    ACTIVE = "ACTIVE"
    DISABLED = "DISABLED"
    DEPROVISION_PENDING = "DEPROVISION_PENDING"
    DEPROVISIONING = "DEPROVISIONING"
    NOT_APPLICABLE = "NOT_APPLICABLE"


class Desired(enum.Enum):
    """Say what the settings policies that apply to a device want."""

    ON = "ON"
    OFF = "OFF"
    NONE = "NONE"


LEAVING = frozenset({EpmState.DEPROVISION_PENDING, EpmState.DEPROVISIONING})
PROVISIONED = frozenset({EpmState.PROVISIONING, EpmState.ACTIVE, EpmState.DISABLED})


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """Hold the EPM state, what is desired, when the component is to go, and the revision of the policy data behind it."""

    state: EpmState = EpmState.NOT_PROVISIONED
    desired: Desired = Desired.NONE
    deprovision_time: datetime | None = None
    policy_revision: int = 0
    lost: datetime | None = None
    """When settings policies ceased to apply, as the policy service tells. None: they apply, or it is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsReport:
    """Tell what the policy service worked out for one device, and on which revision of its data that rests.

    `lost` is when settings policies ceased to apply, if that is known: the document of the device counts from then on too.
    """

    device_id: str
    desired: Desired
    acknowledged: bool
    revision: int
    lost: datetime | None = None
    enrolled: datetime | None = None
    """When the device had enrolled last, as far as the policy service knew. None: it does not tell."""
    scope: ReportingScope | None = None
    """The widest by which anything may be reported from the device. None: it does not tell."""


def begin(os: str) -> Lifecycle:
    """Return the lifecycle of a device that has just enrolled."""
    return Lifecycle() if os in SUPPORTED_PLATFORMS else Lifecycle(EpmState.NOT_APPLICABLE)


def settle(
    lifecycle: Lifecycle, report: SettingsReport, *, now: datetime, deprovision_after: timedelta
) -> tuple[Lifecycle, ...]:
    """Return each lifecycle that the report leads through; the last one holds now, and none is a report without news."""
    if report.revision < lifecycle.policy_revision:
        return ()
    known = replace(lifecycle, desired=report.desired, policy_revision=report.revision)
    gone = replace(known, deprovision_time=(report.lost or now) + deprovision_after, lost=report.lost)
    steps = tuple(_steps(known, report, replace(gone, state=EpmState.DEPROVISION_PENDING)))
    if steps:
        return steps
    return (known,) if known != lifecycle else ()


def settle_platform(lifecycle: Lifecycle, os: str) -> Lifecycle:
    """Return the lifecycle on this platform, which may have gained or lost its component."""
    if os not in SUPPORTED_PLATFORMS:
        return replace(lifecycle, state=EpmState.NOT_APPLICABLE, deprovision_time=None, lost=None)
    if lifecycle.state is not EpmState.NOT_APPLICABLE:
        return lifecycle
    wanted = lifecycle.desired is not Desired.NONE
    return replace(lifecycle, state=EpmState.PROVISIONING if wanted else EpmState.NOT_PROVISIONED)


def is_due(lifecycle: Lifecycle, now: datetime) -> bool:
    """Tell whether the component is to go by now."""
    time = lifecycle.deprovision_time
    return lifecycle.state is EpmState.DEPROVISION_PENDING and time is not None and time <= now


def settle_time(lifecycle: Lifecycle, now: datetime) -> Lifecycle:
    """Return the lifecycle at `now`: what is due moves to DEPROVISIONING."""
    return replace(lifecycle, state=EpmState.DEPROVISIONING) if is_due(lifecycle, now) else lifecycle


def settle_removal(lifecycle: Lifecycle) -> Lifecycle:
    """Return the lifecycle after the agent confirmed that its component is gone; only one that was asked for counts."""
    if lifecycle.state is not EpmState.DEPROVISIONING:
        return lifecycle
    return replace(lifecycle, state=EpmState.NOT_PROVISIONED, deprovision_time=None, lost=None)


def settle_check_in(lifecycle: Lifecycle, os: str, *, now: datetime, component_gone: bool) -> tuple[Lifecycle, ...]:
    """Return each lifecycle that a sign of life leads through: by its platform, by the time, by a component that is gone."""
    on_platform = settle_platform(lifecycle, os)
    on_time = settle_time(on_platform, now)
    return on_platform, on_time, settle_removal(on_time) if component_gone else on_time


def check_in_wait(lifecycle: Lifecycle, *, now: datetime, interval: timedelta) -> timedelta:
    """Return after how long to check in again: soon after the component is to go, and often while that is waited for.

    A component that does not go is asked for more and more seldom, though at least once in `LONGEST_AWAITING`; so is one that is waited for since a clock stepped back.
    """
    time = lifecycle.deprovision_time
    if time is None:
        return interval
    if lifecycle.state is EpmState.DEPROVISIONING:
        return min(interval, LONGEST_AWAITING, max(SHORTEST_WAIT, abs(now - time)))
    return min(interval, max(SHORTEST_WAIT, time - now))


def _steps(known: Lifecycle, report: SettingsReport, pending: Lifecycle) -> Iterator[Lifecycle]:
    if known.state is EpmState.NOT_APPLICABLE:
        return
    provisioning = replace(known, state=EpmState.PROVISIONING, deprovision_time=None, lost=None)
    if report.desired is Desired.NONE:
        if _lost_again(known, report):
            yield provisioning
        if known.state in PROVISIONED or _lost_again(known, report):
            yield pending
        return
    current = known
    if current.state not in PROVISIONED:
        current = provisioning
        yield current
    reached = EpmState.ACTIVE if report.desired is Desired.ON else EpmState.DISABLED
    if report.acknowledged and current.state is not reached:
        yield replace(current, state=reached)


def _lost_again(known: Lifecycle, report: SettingsReport) -> bool:
    """Tell whether a policy was back and went again since, and only the end of that is heard of."""
    return known.lost is not None and report.lost is not None and known.lost < report.lost
