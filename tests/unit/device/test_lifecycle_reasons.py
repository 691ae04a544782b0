"""Why a device is in its EPM state, and why it came there, in words for people."""

import pytest

from services.device.model.lifecycle import Desired, EpmState, Lifecycle
from services.device.model.reasons import move_reason, state_reason
from tests.fakes.clock import NOW

S, D = EpmState, Desired
NONE = Lifecycle()
PENDING = Lifecycle(S.DEPROVISION_PENDING, D.NONE, NOW)
LEAVING = Lifecycle(S.DEPROVISIONING, D.NONE, NOW)
ACTIVE = Lifecycle(S.ACTIVE, D.ON)
HAIKU = Lifecycle(S.NOT_APPLICABLE)


@pytest.mark.parametrize(
    ("lifecycle", "reason"),
    [
        (NONE, "No settings policy applies, and no component is asked of the device."),
        (
            Lifecycle(S.PROVISIONING, D.ON),
            "A settings policy that enables EPM applies; the device has not acknowledged it yet.",
        ),
        (
            Lifecycle(S.PROVISIONING, D.OFF),
            "A settings policy that disables EPM applies; the device has not acknowledged it yet.",
        ),
        (ACTIVE, "A settings policy that enables EPM applies, and the device acknowledged it."),
        (
            Lifecycle(S.ACTIVE, D.OFF),
            (
                "The device acknowledged settings that enable EPM; a settings policy that disables it applies by now and is not"
                " acknowledged yet."
            ),
        ),
        (
            Lifecycle(S.DISABLED, D.OFF),
            "A settings policy that disables EPM applies, and the device acknowledged it.",
        ),
        (PENDING, "No settings policy applies; the component goes at 2026-11-23T12:00:00Z unless one comes back."),
        (
            LEAVING,
            "No settings policy applies; the component was to go at 2026-11-23T12:00:00Z, and the agent has not confirmed it.",
        ),
        (HAIKU, 'There is no component for the platform "haiku", which is what the agent reports.'),
    ],
)
def test_every_state_has_its_reason(lifecycle: Lifecycle, reason: str) -> None:
    os = "haiku" if lifecycle.state is S.NOT_APPLICABLE else "linux"
    assert state_reason(lifecycle, os) == reason


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        (NONE, Lifecycle(S.PROVISIONING, D.ON), "A settings policy that enables EPM applies now."),
        (NONE, Lifecycle(S.PROVISIONING, D.OFF), "A settings policy that disables EPM applies now."),
        (PENDING, Lifecycle(S.PROVISIONING, D.ON), "A settings policy that enables EPM applies again."),
        (LEAVING, Lifecycle(S.PROVISIONING, D.NONE), "A settings policy that governs EPM applies again."),
        (Lifecycle(S.PROVISIONING, D.ON), ACTIVE, "The device acknowledged settings that enable EPM."),
        (ACTIVE, Lifecycle(S.DISABLED, D.OFF), "The device acknowledged settings that disable EPM."),
        (ACTIVE, PENDING, "No settings policy applies any more; the component goes at 2026-11-23T12:00:00Z."),
        (PENDING, LEAVING, "The time has come for the component to go."),
        (LEAVING, NONE, "The agent confirmed that the component is gone."),
        (ACTIVE, HAIKU, 'There is no component for the platform "linux", which is what the agent reports.'),
        (HAIKU, NONE, 'The platform "linux" has a component, and no settings policy applies.'),
        (
            HAIKU,
            Lifecycle(S.PROVISIONING, D.ON),
            'The platform "linux" has a component, and a settings policy applies.',
        ),
    ],
)
def test_every_move_has_its_reason(before: Lifecycle, after: Lifecycle, reason: str) -> None:
    assert move_reason(before, after, "linux") == reason


@pytest.mark.parametrize("lifecycle", [NONE, PENDING, LEAVING])
def test_a_quarantine_is_named_where_it_keeps_policies_away(lifecycle: Lifecycle) -> None:
    ordinary, quarantined = (state_reason(lifecycle, "linux", quarantined=held) for held in (False, True))
    assert "quarantine" not in ordinary
    assert quarantined.startswith("The device is in quarantine, where no settings policy applies")
    assert ordinary.partition("applies")[2] == quarantined.partition("applies")[2]


def test_a_quarantine_is_why_a_component_goes() -> None:
    assert move_reason(ACTIVE, PENDING, "linux", quarantined=True) == (
        "The device is in quarantine, where no settings policy applies; the component goes at 2026-11-23T12:00:00Z."
    )
