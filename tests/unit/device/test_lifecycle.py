"""The table of EPM states, cell by cell."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise

import pytest

from services.device.model.lifecycle import (
    LEAVING,
    Desired,
    EpmState,
    Lifecycle,
    SettingsReport,
    begin,
    check_in_wait,
    is_due,
    settle,
    settle_check_in,
    settle_platform,
    settle_removal,
    settle_time,
)
from tests.fakes.clock import NOW

WEEK = timedelta(days=7)
GONE = NOW + WEEK

TABLE = """
state               | gain on      | gain off     | ack on              | ack off               | lose                | early               | due            | confirm             | gone early      | gone due                       | unsupported    | supported
NOT_PROVISIONED     | PROVISIONING | PROVISIONING | PROVISIONING ACTIVE | PROVISIONING DISABLED | -                   | -                   | -              | -                   | -               | -                              | NOT_APPLICABLE | -
PROVISIONING        | -            | -            | ACTIVE              | DISABLED              | DEPROVISION_PENDING | -                   | -              | -                   | -               | -                              | NOT_APPLICABLE | -
ACTIVE              | -            | -            | -                   | DISABLED              | DEPROVISION_PENDING | -                   | -              | -                   | -               | -                              | NOT_APPLICABLE | -
DISABLED            | -            | -            | ACTIVE              | -                     | DEPROVISION_PENDING | -                   | -              | -                   | -               | -                              | NOT_APPLICABLE | -
DEPROVISION_PENDING | PROVISIONING | PROVISIONING | PROVISIONING ACTIVE | PROVISIONING DISABLED | -                   | -                   | DEPROVISIONING | -                   | -               | DEPROVISIONING NOT_PROVISIONED | NOT_APPLICABLE | -
DEPROVISIONING      | PROVISIONING | PROVISIONING | PROVISIONING ACTIVE | PROVISIONING DISABLED | -                   | -                   | -              | NOT_PROVISIONED     | NOT_PROVISIONED | NOT_PROVISIONED                | NOT_APPLICABLE | -
NOT_APPLICABLE      | -            | -            | -                   | -                     | -                   | -                   | -              | -                   | NOT_PROVISIONED | NOT_PROVISIONED                | -              | NOT_PROVISIONED
"""
"""What each event leads each state through; `-` leaves it where it is."""


def told(desired: Desired, *, acknowledged: bool = False) -> Callable[[Lifecycle], tuple[Lifecycle, ...]]:
    report = SettingsReport(device_id="d1", desired=desired, acknowledged=acknowledged, revision=2)
    return lambda lifecycle: settle(lifecycle, report, now=NOW, deprovision_after=WEEK)


def checked_in(lifecycle: Lifecycle, now: datetime) -> tuple[Lifecycle, ...]:
    return settle_check_in(lifecycle, "linux", now=now, component_gone=True)


EVENTS: dict[str, Callable[[Lifecycle], tuple[Lifecycle, ...]]] = {
    "gain on": told(Desired.ON),
    "gain off": told(Desired.OFF),
    "ack on": told(Desired.ON, acknowledged=True),
    "ack off": told(Desired.OFF, acknowledged=True),
    "lose": told(Desired.NONE),
    "early": lambda lifecycle: (settle_time(lifecycle, GONE - timedelta(microseconds=1)),),
    "due": lambda lifecycle: (settle_time(lifecycle, GONE),),
    "confirm": lambda lifecycle: (settle_removal(lifecycle),),
    "gone early": lambda lifecycle: checked_in(lifecycle, GONE - timedelta(microseconds=1)),
    "gone due": lambda lifecycle: checked_in(lifecycle, GONE),
    "unsupported": lambda lifecycle: (settle_platform(lifecycle, "haiku"),),
    "supported": lambda lifecycle: (settle_platform(lifecycle, "linux"),),
}


def cells() -> list[tuple[EpmState, str, list[EpmState]]]:
    head, *rows = ([cell.strip() for cell in line.split("|")] for line in TABLE.strip().splitlines())
    return [
        (EpmState[state], event, [EpmState[name] for name in cell.split() if name != "-"])
        for state, *row in rows
        for event, cell in zip(head[1:], row, strict=True)
    ]


def in_state(state: EpmState) -> Lifecycle:
    desired = Desired.NONE if state in {*LEAVING, EpmState.NOT_PROVISIONED, EpmState.NOT_APPLICABLE} else Desired.ON
    return Lifecycle(state, desired, GONE if state in LEAVING else None, 1)


def test_the_table_has_a_cell_for_every_state_and_event() -> None:
    assert {(state, event) for state, event, _ in cells()} == {(state, event) for state in EpmState for event in EVENTS}


@pytest.mark.parametrize(("state", "event", "expected"), cells())
def test_every_state_answers_every_event_as_the_table_says(
    state: EpmState, event: str, expected: list[EpmState]
) -> None:
    before = in_state(state)
    steps = EVENTS[event](before)
    entered = [(earlier.state, step.state) for earlier, step in pairwise((before, *steps))]
    assert [after for earlier, after in entered if after is not earlier] == expected
    assert all((step.deprovision_time is not None) == (step.state in LEAVING) for step in steps)


@pytest.mark.parametrize(("state", "event", "_expected"), cells())
def test_every_event_may_be_repeated(state: EpmState, event: str, _expected: list[EpmState]) -> None:
    before = in_state(state)
    after = (before, *EVENTS[event](before))[-1]
    again = (after, *EVENTS[event](after))[-1]
    assert again == after


@pytest.mark.parametrize("event", ["gain on", "gain off", "ack on", "ack off", "lose"])
@pytest.mark.parametrize("state", EpmState)
def test_what_is_desired_is_kept_in_every_state(state: EpmState, event: str) -> None:
    before = replace(in_state(state), desired=Desired.ON if event == "lose" else Desired.NONE)
    desired = {"gain": Desired.ON, "ack": Desired.ON, "lose": Desired.NONE}[event.split(maxsplit=1)[0]]
    after = EVENTS[event](before)[-1]
    assert after.desired is (Desired.OFF if event.endswith("off") else desired)
    assert after.policy_revision == 2


def test_losing_the_policy_sets_the_time_a_week_on_and_losing_it_again_does_not_move_it() -> None:
    lost = told(Desired.NONE)(in_state(EpmState.ACTIVE))[-1]
    assert lost.deprovision_time == GONE
    report = SettingsReport(device_id="d1", desired=Desired.NONE, acknowledged=True, revision=3)
    again = settle(lost, report, now=NOW + timedelta(days=3), deprovision_after=WEEK)[-1]
    assert again.deprovision_time == GONE


def test_a_report_older_than_what_is_known_changes_nothing() -> None:
    known = replace(in_state(EpmState.ACTIVE), policy_revision=3)
    assert told(Desired.NONE)(known) == ()


def test_a_report_of_the_known_revision_may_still_bring_the_acknowledgement() -> None:
    known = replace(in_state(EpmState.PROVISIONING), policy_revision=2)
    assert [step.state for step in told(Desired.ON, acknowledged=True)(known)] == [EpmState.ACTIVE]


def test_a_report_without_news_leads_nowhere() -> None:
    known = replace(in_state(EpmState.ACTIVE), policy_revision=2)
    assert told(Desired.ON, acknowledged=True)(known) == ()


@pytest.mark.parametrize("os", ["windows", "linux", "macos"])
def test_a_new_device_is_not_provisioned_where_there_is_a_component(os: str) -> None:
    assert begin(os) == Lifecycle(EpmState.NOT_PROVISIONED)


@pytest.mark.parametrize("os", ["haiku", "", "Linux"])
def test_a_new_device_is_not_applicable_where_there_is_no_component(os: str) -> None:
    assert begin(os) == Lifecycle(EpmState.NOT_APPLICABLE)


def test_a_platform_that_becomes_supported_takes_up_what_is_desired() -> None:
    waiting = told(Desired.OFF)(begin("haiku"))[-1]
    assert waiting.state is EpmState.NOT_APPLICABLE
    assert settle_platform(waiting, "linux").state is EpmState.PROVISIONING


def test_only_what_is_pending_is_due() -> None:
    due = {state for state in EpmState if is_due(replace(in_state(state), deprovision_time=GONE), GONE)}
    assert due == {EpmState.DEPROVISION_PENDING}


LOST = NOW - timedelta(days=2)


def lost(at: datetime | None, revision: int = 9) -> SettingsReport:
    return SettingsReport(device_id="d1", desired=Desired.NONE, acknowledged=False, revision=revision, lost=at)


def test_the_time_to_go_counts_from_the_loss_that_the_policy_service_tells() -> None:
    (pending,) = settle(in_state(EpmState.ACTIVE), lost(LOST), now=NOW, deprovision_after=WEEK)
    assert (pending.deprovision_time, pending.lost) == (LOST + WEEK, LOST)


def test_a_loss_that_is_told_again_moves_nothing() -> None:
    (pending,) = settle(in_state(EpmState.ACTIVE), lost(LOST), now=NOW, deprovision_after=WEEK)
    for again in (lost(LOST), lost(LOST - WEEK), lost(None)):
        assert settle(pending, again, now=NOW, deprovision_after=2 * WEEK) == ()


@pytest.mark.parametrize("state", LEAVING)
def test_a_newer_loss_says_that_a_policy_was_back_and_its_time_counts_anew(state: EpmState) -> None:
    leaving = replace(in_state(state), lost=LOST)
    back, gone = settle(leaving, lost(NOW), now=NOW, deprovision_after=WEEK)
    assert (back.state, back.deprovision_time, back.lost) == (EpmState.PROVISIONING, None, None)
    assert (gone.state, gone.deprovision_time, gone.lost) == (EpmState.DEPROVISION_PENDING, NOW + WEEK, NOW)


@pytest.mark.parametrize(
    ("state", "past", "wait"),
    [
        (EpmState.ACTIVE, 0, 300),
        (EpmState.DEPROVISION_PENDING, -604_800, 300),
        (EpmState.DEPROVISION_PENDING, -42, 42),
        (EpmState.DEPROVISION_PENDING, 0, 1),
        (EpmState.DEPROVISIONING, 0, 1),
        (EpmState.DEPROVISIONING, 8, 8),
        (EpmState.DEPROVISIONING, 604_800, 60),
        (EpmState.DEPROVISIONING, -8, 8),
    ],
)
def test_an_agent_comes_back_when_its_component_is_to_go_and_ever_more_seldom_while_it_does_not(
    state: EpmState, past: int, wait: int
) -> None:
    now = GONE + timedelta(seconds=past)
    assert check_in_wait(in_state(state), now=now, interval=timedelta(minutes=5)) == timedelta(seconds=wait)
