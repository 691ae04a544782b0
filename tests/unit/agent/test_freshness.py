"""How old a policy is: after restarts, and by clocks that are set."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from agent_stub.policy.document import DevicePolicy
from agent_stub.policy.keeper import CLOCK_SKEW, NEVER, PolicyKeeper
from elevation.document import PolicyDocument, UserPolicy
from elevation.model import Settings
from tests.builders.elevation import policy, rule
from tests.fakes.agent import NOW, FakeMoments, Installation, document

CONTENT = document(policy(rule("r", file_name="setup.exe", file_hash="a" * 64)))
YEAR = timedelta(days=365)


@pytest.fixture(scope="module")
def house() -> Installation:
    return Installation()


@pytest.fixture
def keeper(tmp_path: Path, house: Installation) -> PolicyKeeper:
    return PolicyKeeper(tmp_path, house.identity())


def restarted(folder: Path, house: Installation) -> PolicyKeeper:
    keeper = PolicyKeeper(folder, house.identity())
    assert keeper.load() == []
    return keeper


def short_lived(seconds: int) -> PolicyDocument:
    return document(settings=Settings(stale_after=timedelta(seconds=seconds)))


def test_a_policy_that_gets_stale_soon_is_still_fresh_after_a_restart(
    tmp_path: Path, keeper: PolicyKeeper, house: Installation
) -> None:
    keeper.apply(house.offer(short_lived(60), 1), NOW)
    assert keeper.held is not None
    signed = house.signed(keeper.held.sha256, 1)
    for seconds in (14, 20, 40, 54):
        keeper.confirm(signed, NOW + timedelta(seconds=seconds))
    assert restarted(tmp_path, house).confirmed == NOW + timedelta(seconds=40)


def test_the_shortest_life_of_all_users_counts_and_no_end_is_no_life() -> None:
    any_user, alice, bob = (
        UserPolicy(name, Settings(stale_after=life))
        for name, life in (("", timedelta(days=9)), ("alice", timedelta(days=1)), ("bob", None))
    )
    found = replace(document(), any_user=any_user, users=(alice, bob))
    assert DevicePolicy(found).stale_after == timedelta(days=1)
    assert DevicePolicy(replace(found, any_user=bob, users=(bob,))).stale_after is None
    assert DevicePolicy(document(settings=None)).stale_after is None


def test_an_agent_that_stops_saves_what_was_confirmed_last(
    tmp_path: Path, keeper: PolicyKeeper, house: Installation
) -> None:
    keeper.apply(house.offer(CONTENT, 1), NOW)
    assert keeper.held is not None
    later = NOW + timedelta(minutes=1)
    keeper.confirm(house.signed(keeper.held.sha256, 1), later)
    assert restarted(tmp_path, house).confirmed == NOW
    keeper.rest()
    assert restarted(tmp_path, house).confirmed == later


def test_a_wall_clock_that_is_set_back_makes_no_policy_younger(tmp_path: Path, house: Installation) -> None:
    clock = FakeMoments()
    keeper = PolicyKeeper(tmp_path, house.identity(), lambda: clock.since_boot)
    keeper.apply(house.offer(CONTENT, 1), clock.wall)
    clock.goes_on(timedelta(days=3))
    assert keeper.confirmed_by(clock.wall) == NOW
    clock.wall -= YEAR
    assert clock.wall - keeper.confirmed_by(clock.wall) == timedelta(days=3)
    clock.wall = NOW
    assert clock.wall - keeper.confirmed_by(clock.wall) == timedelta(days=3)


def test_a_wall_clock_that_is_set_forward_makes_a_policy_older_until_the_server_confirms_it(
    tmp_path: Path, house: Installation
) -> None:
    clock = FakeMoments()
    keeper = PolicyKeeper(tmp_path, house.identity(), lambda: clock.since_boot)
    keeper.apply(house.offer(CONTENT, 1), clock.wall)
    assert keeper.held is not None
    clock.wall += YEAR
    assert clock.wall - keeper.confirmed_by(clock.wall) == YEAR
    keeper.confirm(house.signed(keeper.held.sha256, 1, expires=clock.wall + timedelta(days=1)), clock.wall)
    assert keeper.confirmed_by(clock.wall) == clock.wall


def test_after_a_restart_a_confirmation_in_the_future_counts_for_nothing(
    tmp_path: Path, keeper: PolicyKeeper, house: Installation
) -> None:
    keeper.apply(house.offer(CONTENT, 1), NOW)
    again = restarted(tmp_path, house)
    assert again.confirmed_by(NOW) == again.confirmed_by(NOW - CLOCK_SKEW) == NOW
    assert again.confirmed_by(NOW - CLOCK_SKEW - timedelta(seconds=1)) == NEVER
    assert again.confirmed_by(NOW - YEAR) == NEVER
    assert again.confirmed_by(NOW + YEAR) == NOW


@pytest.mark.parametrize("years", [-1, 1])
def test_a_policy_with_a_life_is_stale_whichever_way_the_clock_is_set_while_the_agent_is_off(
    tmp_path: Path, keeper: PolicyKeeper, house: Installation, years: int
) -> None:
    keeper.apply(house.offer(short_lived(3600), 1), NOW)
    again = restarted(tmp_path, house)
    now = NOW + years * YEAR
    assert now - again.confirmed_by(now) >= timedelta(hours=1)
