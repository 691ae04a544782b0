"""What holds for the EPM state, whatever happens in whatever order: what the table of the decisions says."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from services.device.model.lifecycle import (
    LEAVING,
    LONGEST_AWAITING,
    SHORTEST_WAIT,
    Desired,
    EpmState,
    Lifecycle,
    SettingsReport,
    begin,
    check_in_wait,
    settle,
    settle_check_in,
    settle_time,
)
from services.device.model.reasons import move_reason, state_reason
from tests.fakes.clock import NOW
from tests.reference.lifecycle import WEEK, LifecycleMachine, Seen, Told

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
    *((state, S.NOT_APPLICABLE) for state in EpmState),
    (S.NOT_APPLICABLE, S.NOT_PROVISIONED),
    (S.NOT_APPLICABLE, S.PROVISIONING),
}


class PureLifecycle:
    """The model of the service, without a store."""

    def __init__(self) -> None:
        self.os = "linux"
        self.lifecycle = Lifecycle()
        self.moves: list[tuple[str, str]] = []

    def enrol(self, os: str) -> None:
        """Let the device begin."""
        self.os = os
        self.lifecycle = begin(os)

    def hear(self, told: Told, now: datetime) -> None:
        """Take in a report; what rests on older data leads nowhere."""
        report = SettingsReport(
            device_id="d1",
            desired=Desired[told.wanted.upper()],
            acknowledged=told.acknowledged,
            revision=told.revision,
            lost=told.lost,
        )
        older = told.revision < self.lifecycle.policy_revision
        steps = settle(self.lifecycle, report, now=now, deprovision_after=WEEK)
        assert not (older and steps)
        self._follow(steps)

    def check_in(self, os: str, now: datetime, *, gone: bool) -> None:
        """Hear from the agent."""
        self.os = os
        self._follow(settle_check_in(self.lifecycle, os, now=now, component_gone=gone))
        assert check_in_wait(self.lifecycle, now=now, interval=timedelta(minutes=5)) >= SHORTEST_WAIT

    def sweep(self, now: datetime) -> None:
        """Look for what is due."""
        self._follow([settle_time(self.lifecycle, now)])

    def seen(self) -> Seen:
        """Say how it is."""
        lifecycle = self.lifecycle
        # INVARIANT: there is a time to go exactly while the device leaves, and a time of loss nowhere else.
        assert (lifecycle.deprovision_time is not None) == (lifecycle.state in LEAVING)
        assert lifecycle.lost is None or lifecycle.state in LEAVING
        return Seen(lifecycle.state.value, lifecycle.desired.value.lower(), lifecycle.deprovision_time, self.moves)

    def _follow(self, steps: Iterable[Lifecycle]) -> None:
        for step in steps:
            before = self.lifecycle
            if step.state is not before.state:
                # INVARIANT: states change only as the table lists, and every change can be told in words.
                assert (before.state, step.state) in LISTED
                assert move_reason(before, step, self.os).endswith(".")
                self.moves.append((before.state.value, step.state.value))
            assert state_reason(step, self.os).endswith(".")
            self.lifecycle = step


class PureMachine(LifecycleMachine):
    """Compare the model with the table."""

    def __init__(self) -> None:
        super().__init__(PureLifecycle())


PureMachine.TestCase.settings = settings(max_examples=300, stateful_step_count=50)
TestTheLifecycleInAnyOrder = PureMachine.TestCase

INTERVALS = st.timedeltas(min_value=timedelta(seconds=1), max_value=timedelta(days=1))
SPANS = st.timedeltas(min_value=-timedelta(days=400), max_value=timedelta(days=400))


@given(st.sampled_from(EpmState), SPANS, INTERVALS)
def test_a_device_is_never_asked_to_be_busy_nor_more_seldom_than_it_is_set(
    state: EpmState, span: timedelta, interval: timedelta
) -> None:
    lifecycle = Lifecycle(state, deprovision_time=NOW + span if state in LEAVING else None)
    wait = check_in_wait(lifecycle, now=NOW, interval=interval)
    assert SHORTEST_WAIT <= wait <= interval
    if state is EpmState.DEPROVISIONING:
        assert wait <= LONGEST_AWAITING
    if state is EpmState.DEPROVISION_PENDING and SHORTEST_WAIT <= span <= interval:
        assert settle_time(replace(lifecycle), NOW + wait).state is EpmState.DEPROVISIONING
