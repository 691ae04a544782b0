from dataclasses import replace

import pytest

from fleet.check import Said, differences
from fleet.model import Holding, Standing

HELD = Holding(3, b"c" * 32)
SAME = Said("APPLIED", 3, HELD)


def problem(held: Holding, said: Said | None, epm_state: str = "") -> str:
    found = list(differences({"d": Standing(held, epm_state)}, {} if said is None else {"d": said}, {"d": "sim-00001"}))
    assert all((one.agent, one.device_id) == ("sim-00001", "d") for one in found)
    return found[0].problem if found else ""


@pytest.mark.parametrize(
    ("held", "said"),
    [
        (HELD, SAME),
        (HELD, Said("REJECTED", 3, Holding(4, b"d" * 32))),
        (Holding(), Said("PENDING", 0, Holding())),
    ],
)
def test_an_agent_that_holds_what_the_server_says_is_no_difference(held: Holding, said: Said) -> None:
    assert problem(held, said) == ""


@pytest.mark.parametrize(
    ("held", "said", "told"),
    [
        (HELD, None, "no such device"),
        (HELD, Said("APPLIED", 4, Holding(4, b"d")), "holds revision 3, and the server says that it applied 4"),
        (Holding(), SAME, "holds revision 0"),
        (HELD, Said("OFFERED", 3, Holding(4, b"d")), "revision 4 is OFFERED"),
        (HELD, Said("PENDING", 3, Holding(4, b"d")), "revision 4 is PENDING"),
        (HELD, Said("APPLIED", 3, Holding(3, b"other")), "holds other bytes as revision 3"),
        (HELD, Said("APPLIED", 3, Holding(3, b"")), "than the server has (none)"),
        (HELD, Said("REJECTED", 2, Holding(4, b"d")), "applied 2"),
    ],
)
def test_every_other_agent_is_a_difference(held: Holding, said: Said | None, told: str) -> None:
    assert told in problem(held, said)


def test_devices_that_are_no_agents_of_the_fleet_do_not_count() -> None:
    assert list(differences({"d": Standing(HELD)}, {"d": SAME, "laptop": Said("OFFERED", 1, HELD)}, {})) == []


def test_the_state_of_epm_is_compared_where_the_agent_tells_of_its_component() -> None:
    active = replace(SAME, epm_state="ACTIVE")
    assert problem(HELD, active) == problem(HELD, active, "ACTIVE") == ""
    assert problem(HELD, active, "DISABLED") == "is DISABLED by its document, and the server says ACTIVE"
