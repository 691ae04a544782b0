"""Say in words why a device is in its EPM state, and why it came there; one sentence each, for people."""

from datetime import UTC, datetime

from services.device.model.lifecycle import Desired, EpmState, Lifecycle

_IN_QUARANTINE = "The device is in quarantine, where no settings policy applies"
_ASKED = {Desired.ON: "enables", Desired.OFF: "disables"}
_REACHED = {EpmState.ACTIVE: Desired.ON, EpmState.DISABLED: Desired.OFF}


def state_reason(lifecycle: Lifecycle, os: str, *, quarantined: bool = False) -> str:
    """Say why the device is in the state; in quarantine no settings policy applies."""
    none = _IN_QUARANTINE if quarantined else "No settings policy applies"
    time = _written(lifecycle.deprovision_time)
    match lifecycle.state:
        case EpmState.NOT_APPLICABLE:
            reason = _without_component(os)
        case EpmState.NOT_PROVISIONED:
            reason = f"{none}, and no component is asked of the device."
        case EpmState.PROVISIONING:
            asked = _ASKED.get(lifecycle.desired, "governs")
            reason = f"A settings policy that {asked} EPM applies; the device has not acknowledged it yet."
        case EpmState.ACTIVE | EpmState.DISABLED:
            reason = _acknowledged(lifecycle)
        case EpmState.DEPROVISION_PENDING:
            reason = f"{none}; the component goes at {time} unless one comes back."
        case _:  # DEPROVISIONING
            reason = f"{none}; the component was to go at {time}, and the agent has not confirmed it."
    return reason


def move_reason(before: Lifecycle, after: Lifecycle, os: str, *, quarantined: bool = False) -> str:
    """Say why the device left one state for another; in quarantine no settings policy applies."""
    if after.state is EpmState.NOT_APPLICABLE:
        return _without_component(os)
    if before.state is EpmState.NOT_APPLICABLE:
        applies = "a" if after.state is EpmState.PROVISIONING else "no"
        return f'The platform "{os}" has a component, and {applies} settings policy applies.'
    match after.state:
        case EpmState.PROVISIONING:
            again = "again" if before.deprovision_time else "now"
            reason = f"A settings policy that {_ASKED.get(after.desired, 'governs')} EPM applies {again}."
        case EpmState.ACTIVE | EpmState.DISABLED:
            reason = f"The device acknowledged settings that {_plural(_REACHED[after.state])} EPM."
        case EpmState.DEPROVISION_PENDING:
            none = _IN_QUARANTINE if quarantined else "No settings policy applies any more"
            reason = f"{none}; the component goes at {_written(after.deprovision_time)}."
        case EpmState.DEPROVISIONING:
            reason = "The time has come for the component to go."
        case _:  # NOT_PROVISIONED
            reason = "The agent confirmed that the component is gone."
    return reason


def _acknowledged(lifecycle: Lifecycle) -> str:
    reached = _REACHED[lifecycle.state]
    if lifecycle.desired is reached:
        return f"A settings policy that {_ASKED[reached]} EPM applies, and the device acknowledged it."
    asked = _ASKED.get(lifecycle.desired, "governs")
    return (
        f"The device acknowledged settings that {_plural(reached)} EPM; a settings policy that {asked} it applies by now and"
        " is not acknowledged yet."
    )


def _plural(desired: Desired) -> str:
    return _ASKED[desired].removesuffix("s")


def _without_component(os: str) -> str:
    return f'There is no component for the platform "{os}", which is what the agent reports.'


def _written(time: datetime | None) -> str:
    return "once" if time is None else time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
