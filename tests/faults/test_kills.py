"""`kill -9` of server and agent while a policy is on its way: nothing is half applied, and nothing is taken for an answer."""

from collections.abc import Iterator

import pytest

from agent_stub.policy.keeper import CONTACT, POLICY
from tests.builders.installation import Installation, free_ports, installation
from tests.builders.relay import DOWN, UP, Relay, relay_to
from tests.faults.hooks import wrap
from tests.faults.house import NAME, answers, arrive, decided, delivery, held, killed, said, settings, stored

pytestmark = pytest.mark.xdist_group("faults-kills")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Installation, Relay]]:
    """Serve an installation whose agent reaches the policy service through a relay."""
    (port,) = free_ports(1)
    folder, mesh = tmp_path_factory.mktemp("house"), f"127.0.0.1:{port}"
    with relay_to(port) as relay, installation(folder, mesh=mesh, EPM_ADVERTISED_POLICY=relay.address) as house:
        house.enrol(NAME, "alice")
        house.run_agent(NAME)
        yield house, relay


@pytest.fixture
def line(whole: tuple[Installation, Relay]) -> Relay:
    return whole[1]


@pytest.fixture
def house(whole: tuple[Installation, Relay]) -> Installation:
    """Hold a policy in force by which everything is denied."""
    house, _ = whole
    house.apply(settings("DENY"))
    arrive(house)
    return house


def test_a_server_killed_before_it_heard_the_answer_learns_from_the_next_hello_alone(
    house: Installation, line: Relay
) -> None:
    first, before, applied = held(house), delivery(house)["appliedRevision"], said(house, "policy_applied")
    line.hold(UP)
    house.apply(settings("USER_CONFIRMED"))
    house.wait_for("the offer in force", lambda: held(house) == first + 1)
    house.programs.pop("server").kill()
    house.serve()  # nobody gets through to it: what was an answer is lost
    told = delivery(house)
    assert (told["state"], told["appliedRevision"]) == ("OFFERED", before)
    line.let_go(UP)
    arrive(house)
    assert (held(house), decided(house)) == (first + 1, "ELEVATED")
    assert said(house, "policy_applied") == applied + 1  # the document was not sent again


def test_a_server_killed_before_its_offer_arrived_offers_it_again(house: Installation, line: Relay) -> None:
    first, before = held(house), delivery(house)["appliedRevision"]
    line.hold(DOWN)
    house.apply(settings("USER_CONFIRMED"))
    house.wait_for("the offer", lambda: delivery(house)["state"] == "OFFERED")
    house.programs.pop("server").kill()
    assert (held(house), decided(house)) == (first, "DENIED")
    house.serve()
    assert delivery(house)["appliedRevision"] == before
    line.let_go(DOWN)
    arrive(house)
    assert (held(house), decided(house)) == (first + 1, "ELEVATED")


@pytest.mark.parametrize(
    ("hook", "file", "survives"),
    [("die_before_rename", POLICY, False), ("die_after_rename", POLICY, True), ("die_before_rename", CONTACT, True)],
    ids=["verified", "renamed", "not-noted"],
)
def test_an_agent_killed_while_it_stores_a_policy_starts_with_the_whole_old_or_the_whole_new_one(
    house: Installation, line: Relay, hook: str, file: str, *, survives: bool
) -> None:
    first, old, applied = held(house), stored(house), said(house, "policy_applied")
    house.end(NAME)
    house.wraps[NAME] = wrap(hook, file)
    house.run_agent(NAME)
    house.apply(settings("USER_CONFIRMED"))
    killed(house, NAME)
    assert delivery(house)["state"] == "OFFERED"
    assert (stored(house) != old) is survives

    line.hold(DOWN)  # what it starts with is its own
    del house.wraps[NAME]
    house.run_agent(NAME)
    house.wait_for("the agent", lambda: answers(house))
    assert (held(house), decided(house)) == ((first + 1, "ELEVATED") if survives else (first, "DENIED"))
    line.let_go(DOWN)
    arrive(house)
    assert (held(house), decided(house)) == (first + 1, "ELEVATED")
    assert said(house, "policy_applied") == (applied if survives else applied + 1)
