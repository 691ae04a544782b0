"""Policy states of devices: who is away since when, whose policy counts no more, and where policies disagree."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from elevation.model import DefaultResponse, GroupType, SettingsPolicy
from services._chassis.errors import InvalidError
from services._chassis.paging import PageRequest
from services._chassis.permits import EVERYTHING, Permit
from services.policy.model.conflicts import ConflictingValue, SettingsConflict
from services.policy.model.states import DevicePolicyState, StatesWanted
from services.policy.store.device_states import DeliveryStates
from services.policy.usecases.states import list_device_states
from tests.builders.rollouts import World
from tests.fakes.clock import NOW, FakeClock
from tests.fakes.policy_delivery import FakeDirectories, assigned, device, group, stored
from tests.fakes.policy_delivery import settings as settings_of
from tests.fakes.rollouts import MemoryBundles

CONFIRM, DENY = DefaultResponse.USER_CONFIRMED, DefaultResponse.DENY
ALL = StatesWanted(visible=None)


def world(*policies: SettingsPolicy) -> World:
    people = group("people", "alice", kind=GroupType.USER)
    made = World(FakeDirectories(device("d1", "alice"), device("d2", "bob"), device("d3"), groups=[people]))
    made.author(*(stored(policy, 1) for policy in policies))
    return made


async def states(made: World, wanted: StatesWanted = ALL, *, clock: FakeClock | None = None) -> list[DevicePolicyState]:
    shown = DeliveryStates(made.book, made.deliveries, MemoryBundles(made.deliveries), clock or FakeClock())
    return list((await shown.page(PageRequest(100), wanted)).items)


def people(name: str, **values: Any) -> SettingsPolicy:
    return replace(settings_of(name), **values, assignments=assigned("people"))


async def test_a_device_is_offline_since_its_stream_ended() -> None:
    made = world(settings_of())
    await made.hello("d1")
    await made.hello("d2")
    await made.deliveries.change([("d2", lambda old: old.closed("stream", NOW + timedelta(seconds=3)))])
    found = await states(made)
    assert [state.offline_since for state in found] == [None, NOW + timedelta(seconds=3), None]


async def test_a_device_is_stale_by_the_shortest_time_in_the_document_that_it_holds() -> None:
    made = world(settings_of(stale_after=timedelta(days=30)), people("short", stale_after=timedelta(hours=1)))
    clock = FakeClock()
    await made.apply("d1", "d2")
    clock.advance(timedelta(hours=1) - timedelta(seconds=1))
    assert [state.stale for state in await states(made, clock=clock)] == [False, False, False]
    clock.advance(timedelta(seconds=1))
    assert [state.stale for state in await states(made, clock=clock)] == [True, False, False]


async def test_a_document_that_counts_for_ever_is_never_stale() -> None:
    made = world(settings_of(stale_after=None))
    clock = FakeClock()
    await made.apply("d1")
    clock.advance(timedelta(days=10_000))
    assert not any(state.stale for state in await states(made, clock=clock))


async def test_conflicts_name_the_user_the_setting_what_each_says_and_what_counts() -> None:
    made = world(
        settings_of("a", default_response=DENY, stale_after=None),
        people("b", default_response=CONFIRM, stale_after=timedelta(days=2), send_reporting_data=False),
    )
    alices, bobs, _ = await states(made)
    assert alices.conflicts == (
        SettingsConflict(
            "alice",
            "defaultResponse",
            (ConflictingValue("a", "DENY"), ConflictingValue("b", "USER_CONFIRMED")),
            "DENY",
        ),
        SettingsConflict(
            "alice", "sendReportingData", (ConflictingValue("a", "true"), ConflictingValue("b", "false")), "true"
        ),
        SettingsConflict("alice", "staleAfter", (ConflictingValue("a", "null"), ConflictingValue("b", "P2D")), "P2D"),
    )
    assert bobs.conflicts == ()


async def test_a_policy_that_is_off_against_one_that_is_on_is_a_conflict() -> None:
    [*_, found] = await states(world(settings_of("off", enabled=False), settings_of("on")))
    [conflict] = found.conflicts
    assert (conflict.user, conflict.setting, conflict.effective) == ("", "enabled", "true")


async def test_conflicts_are_gone_once_the_policies_agree() -> None:
    made = world(settings_of("a", default_response=DENY), settings_of("b", default_response=CONFIRM))
    assert all(state.conflicts for state in await states(made))
    made.author(stored(settings_of("a", default_response=DENY), 1), stored(settings_of("b", default_response=DENY), 2))
    assert not any(state.conflicts for state in await states(made))


async def test_names_of_policies_out_of_sight_are_left_out() -> None:
    made = world()
    hidden = stored(settings_of("b", default_response=CONFIRM), 1)
    hidden = replace(hidden, about=replace(hidden.about, scope_tags=frozenset({"emea"})))
    made.author(stored(settings_of("a", default_response=DENY), 1), hidden)
    [found, *_] = await states(made, StatesWanted(visible=frozenset({"default"})))
    assert found.conflicts[0].values == (ConflictingValue("a", "DENY"), ConflictingValue("", "USER_CONFIRMED"))


async def test_states_are_narrowed_to_a_device_and_to_conflicts() -> None:
    made = world(settings_of("a", default_response=DENY), people("b", default_response=CONFIRM))
    for wanted in ("d2", "D2"):
        found = await states(made, StatesWanted(visible=None, device=wanted))
        assert [state.device_id for state in found] == ["d2"]
    assert await states(made, StatesWanted(visible=None, device="nobody")) == []
    found = await states(made, StatesWanted(visible=None, conflicting_only=True))
    assert [state.device_id for state in found] == ["d1"]


async def test_a_token_of_one_question_is_none_of_another() -> None:
    made = world(settings_of())
    shown = DeliveryStates(made.book, made.deliveries, MemoryBundles(made.deliveries), FakeClock())
    permit = Permit(scopes=(EVERYTHING,))
    page = await list_device_states(shown, permit=permit, page_size=1, page_token="")
    assert page.next_token
    with pytest.raises(InvalidError, match="page_token"):
        await list_device_states(shown, permit=permit, page_size=1, page_token=page.next_token, conflicting_only=True)
