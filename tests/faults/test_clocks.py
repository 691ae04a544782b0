"""Wall clocks that are wrong by a year, the server's and the agent's: the last good policy stays, and the word is said."""

from collections.abc import Iterator

import pytest

from tests.builders.installation import Installation, free_ports, installation
from tests.builders.relay import relay_to
from tests.faults.hooks import wrap
from tests.faults.house import NAME, answers, arrive, decided, delivery, device, held, refused, settings

YEAR = 365
pytestmark = pytest.mark.xdist_group("faults-clocks")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    (port,) = free_ports(1)
    folder, mesh = tmp_path_factory.mktemp("house"), f"127.0.0.1:{port}"
    with relay_to(port) as line, installation(folder, mesh=mesh, EPM_ADVERTISED_POLICY=line.address) as house:
        house.enrol(NAME, "alice")
        house.run_agent(NAME)
        yield house


@pytest.fixture
def house(whole: Installation) -> Installation:
    """Hold a policy in force by which everything is denied."""
    whole.apply(settings("DENY"))
    arrive(whole)
    whole.wait_for("ACTIVE", lambda: device(whole)["epmState"] == "ACTIVE")
    return whole


def set_clock(house: Installation, name: str, days: int = 0) -> None:
    """Start a program anew with its wall clock so many days ahead.

    It is killed: a server that drains would ask its devices to come back within half a minute.
    """
    house.programs.pop(name).kill()
    house.wraps[name] = wrap("shift_clocks", days)
    if name == NAME:
        house.run_agent(name)
        house.wait_for("the agent", lambda: answers(house))
    else:
        house.serve()


def test_an_agent_a_year_ahead_refuses_what_has_expired_by_then_and_elevates_nothing(house: Installation) -> None:
    house.apply(settings("USER_CONFIRMED"))
    arrive(house)
    first = held(house)
    assert decided(house) == "ELEVATED"
    set_clock(house, NAME, YEAR)
    house.apply(settings("DENY"))
    assert "the manifest expired at" in refused(house)
    assert held(house) == first
    assert decided(house) == "NOT_MANAGED"  # the policy is as old as the clock says
    set_clock(house, NAME)
    house.wait_for("what was refused", lambda: delivery(house)["state"] == "APPLIED")
    assert held(house) > first


def test_an_agent_a_year_behind_keeps_its_policy_and_takes_the_next_one_once_its_clock_is_right(
    house: Installation,
) -> None:
    first = held(house)
    set_clock(house, NAME, -YEAR)
    house.apply(settings("USER_CONFIRMED"))
    assert "the manifest is not yet valid" in refused(house)
    assert held(house) == first
    set_clock(house, NAME)
    house.wait_for("what was refused", lambda: delivery(house)["state"] == "APPLIED")
    assert (held(house) > first, decided(house)) == (True, "ELEVATED")


def test_a_server_a_year_behind_confirms_and_changes_nothing_on_its_devices(house: Installation) -> None:
    first = held(house)
    set_clock(house, "server", -YEAR)
    house.apply(settings("USER_CONFIRMED"))
    assert "the manifest expired at" in refused(house)
    assert (held(house), decided(house)) == (first, "DENIED")
    set_clock(house, "server")
    house.wait_for("what was refused", lambda: delivery(house)["state"] == "APPLIED")
    assert decided(house) == "ELEVATED"


def test_a_server_a_year_ahead_takes_nothing_away_and_leaves_nothing_behind(house: Installation) -> None:
    first = held(house)
    set_clock(house, "server", YEAR)
    assert device(house)["epmState"] == "ACTIVE"
    house.apply(settings("USER_CONFIRMED"))
    assert "the manifest is not yet valid" in refused(house)
    assert (held(house), decided(house)) == (first, "DENIED")
    set_clock(house, "server")
    assert device(house)["epmState"] == "ACTIVE"
    house.wait_for("what was refused", lambda: delivery(house)["state"] == "APPLIED")
    assert (held(house) > first, decided(house)) == (True, "ELEVATED")
