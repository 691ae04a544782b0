"""What holds for the EPM state, whatever happens in whatever order."""

from datetime import datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from services.device.model.lifecycle import (
    LEAVING,
    Desired,
    EpmState,
    Lifecycle,
    SettingsReport,
    begin,
    settle,
    settle_platform,
    settle_removal,
    settle_time,
)
from tests.fakes.clock import NOW

WEEK = timedelta(days=7)
S = EpmState
LISTED = {
    (S.NOT_PROVISIONED, S.PROVISIONING),
    (S.PROVISIONING, S.ACTIVE),
    (S.PROVISIONING, S.DISABLED),
    (S.ACTIVE, S.DISABLED),
    (S.DISABLED, S.ACTIVE),
    (S.PROVISIONING, S.DEPROVISION_PENDING),
    (S.ACTIVE, S.DEPROVISION_PENDING),
    (S.DISABLED, S.DEPROVISION_PENDING),
    (S.DEPROVISION_PENDING, S.PROVISIONING),
    (S.DEPROVISION_PENDING, S.DEPROVISIONING),
    (S.DEPROVISIONING, S.NOT_PROVISIONED),
    (S.DEPROVISIONING, S.PROVISIONING),
}
PLATFORMS = ("linux", "windows", "haiku")


class LifecycleMachine(RuleBasedStateMachine):
    """Let policies come and go, devices answer, time jump either way, and reports repeat and overtake one another."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.revision = 0
        self.desired = Desired.NONE
        self.lost: datetime | None = None
        self.os = "linux"
        self.sent: list[SettingsReport] = []
        self.lifecycle = Lifecycle()

    @initialize(os=st.sampled_from(PLATFORMS))
    def enrol(self, os: str) -> None:
        self.os = os
        self.lifecycle = begin(os)

    @rule(desired=st.sampled_from((Desired.ON, Desired.OFF)), acknowledged=st.booleans())
    def gain(self, *, desired: Desired, acknowledged: bool) -> None:
        left = self.lifecycle.state in {S.NOT_PROVISIONED, *LEAVING}
        states = self._tell(desired, acknowledged=acknowledged)
        self.desired, self.lost = desired, None
        # INVARIANT: a policy that comes, or comes back, always leads to PROVISIONING.
        assert not left or states[0] is S.PROVISIONING
        if acknowledged and self.os != "haiku":
            assert self.lifecycle.state is (S.ACTIVE if desired is Desired.ON else S.DISABLED)

    @rule(acknowledged=st.booleans())
    def lose(self, *, acknowledged: bool) -> None:
        if self.lost is None:
            self.lost = self.now
        self._tell(Desired.NONE, acknowledged=acknowledged)
        self.desired = Desired.NONE

    @rule()
    def acknowledge(self) -> None:
        self._tell(self.desired, acknowledged=True, anew=False)

    @rule(data=st.data())
    def hear_again(self, data: st.DataObject) -> None:
        if not self.sent:
            return
        report = data.draw(st.sampled_from(self.sent))
        before = self.lifecycle
        self._take(report)
        if report.revision < self.revision:
            assert self.lifecycle == before

    @rule()
    def sweep(self) -> None:
        before = self.lifecycle
        self._move(settle_time(before, self.now))
        if self.lifecycle.state is S.DEPROVISIONING and before.state is not S.DEPROVISIONING:
            # INVARIANT: never before a week has passed since the policy was lost.
            assert self.lost is not None
            assert self.now >= self.lost + WEEK

    @rule()
    def confirm(self) -> None:
        asked = self.lifecycle.state is S.DEPROVISIONING
        before = self.lifecycle
        self._move(settle_removal(before))
        assert self.lifecycle.state is S.NOT_PROVISIONED if asked else self.lifecycle == before

    @rule(step=st.timedeltas(min_value=-timedelta(days=2), max_value=timedelta(days=8)))
    def pass_time(self, step: timedelta) -> None:
        self.now += step

    @rule(os=st.sampled_from(PLATFORMS))
    def change_platform(self, os: str) -> None:
        self.os = os
        self.lifecycle = settle_platform(self.lifecycle, os)

    @invariant()
    def there_is_a_time_to_go_exactly_while_the_device_leaves(self) -> None:
        assert (self.lifecycle.deprovision_time is not None) == (self.lifecycle.state in LEAVING)

    @invariant()
    def the_desired_value_is_the_newest_that_was_told(self) -> None:
        assert self.lifecycle.desired is self.desired

    @invariant()
    def a_platform_without_a_component_is_not_applicable_and_no_other_is(self) -> None:
        assert (self.lifecycle.state is S.NOT_APPLICABLE) == (self.os == "haiku")

    @invariant()
    def a_device_is_provisioned_only_while_a_policy_applies(self) -> None:
        if self.lifecycle.state in {S.PROVISIONING, S.ACTIVE, S.DISABLED}:
            assert self.desired is not Desired.NONE

    def _tell(self, desired: Desired, *, acknowledged: bool, anew: bool = True) -> list[EpmState]:
        self.revision += anew
        report = SettingsReport(device_id="d1", desired=desired, acknowledged=acknowledged, revision=self.revision)
        if anew:
            self.sent.append(report)
        return self._take(report)

    def _take(self, report: SettingsReport) -> list[EpmState]:
        states = []
        for step in settle(self.lifecycle, report, now=self.now, deprovision_after=WEEK):
            if step.state is not self.lifecycle.state:
                states.append(step.state)
            self._move(step)
        return states

    def _move(self, to: Lifecycle) -> None:
        """Go on to `to`. INVARIANT: states change only as the table lists."""
        assert to.state is self.lifecycle.state or (self.lifecycle.state, to.state) in LISTED
        self.lifecycle = to


LifecycleMachine.TestCase.settings = settings(max_examples=200, stateful_step_count=40)
TestTheLifecycleInAnyOrder = LifecycleMachine.TestCase
