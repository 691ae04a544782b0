"""A clock that is wrong for a while, and set right under the running agent: it takes the policy that it refused."""

from pathlib import Path

import pytest

from tests.builders.installation import installation
from tests.faults.hooks import wrap
from tests.faults.house import NAME, answers, arrive, decided, delivery, held, refused, said, settings

pytestmark = pytest.mark.xdist_group("faults-put-off")


def test_an_agent_eight_days_ahead_recovers_when_its_clock_is_set_right(tmp_path: Path) -> None:
    ahead = tmp_path / "days"
    ahead.write_text("0", encoding="utf-8")
    with installation(tmp_path, EPM_POLICY_HEARTBEAT="PT1S") as house:
        house.enrol(NAME, "alice")
        house.wraps[NAME] = wrap("follow_clock", str(ahead))
        house.run_agent(NAME)
        house.wait_for("the agent", lambda: answers(house))
        house.apply(settings("DENY"))
        arrive(house)
        first = held(house)
        ahead.write_text("8", encoding="utf-8")
        house.apply(settings("USER_CONFIRMED"))
        assert "the manifest expired at" in refused(house)
        assert held(house) == first
        ahead.write_text("0", encoding="utf-8")
        house.wait_for("what was refused", lambda: delivery(house)["state"] == "APPLIED")
        assert (held(house) > first, decided(house)) == (True, "ELEVATED")
        assert said(house, "agent_started") == 1  # the same run of it
