from collections import Counter
from datetime import timedelta

from fleet.model import Fault, FaultKind, Planned
from fleet.schedule import Schedule, plan, without_targets
from fleet.script import Line, Script

MINUTE = timedelta(minutes=1)
DROP, KILL = Fault(FaultKind.DROP), Fault(FaultKind.KILL_BEFORE_RENAME)


def drawn(
    *lines: Line, agents: int = 10, faithful: int = 0, seed: int = 1, until: timedelta | None = None
) -> list[Planned]:
    script = Script(lines, until=until)
    return list(plan(script, agents=agents, faithful=faithful, duration=10 * MINUTE, seed=seed))


def test_the_same_seed_draws_the_same_faults_and_another_draws_others() -> None:
    line = Line(DROP, rate=60)
    assert drawn(line, seed=5) == drawn(line, seed=5)
    assert drawn(line, seed=5) != drawn(line, seed=6)


def test_a_line_draws_the_same_whatever_stands_beside_it() -> None:
    restarts = Line(Fault(FaultKind.RESTART), rate=60)
    both = drawn(Line(DROP, rate=60), restarts)
    assert [one for one in both if one.fault == DROP] == drawn(Line(DROP, rate=60))


def test_a_rate_is_kept_over_all_agents_and_each_gets_its_part() -> None:
    faults = drawn(Line(DROP, rate=100))
    assert 800 < len(faults) < 1200  # 10 minutes of 100; 200 are more than six standard deviations
    assert all(50 < count < 150 for count in Counter(one.agent for one in faults).values())
    assert {one.agent for one in faults} == set(range(1, 11))


def test_faults_come_in_order_of_time_and_within_the_run() -> None:
    times = [one.at for one in drawn(Line(DROP, rate=60), Line(Fault(FaultKind.CUT), rate=60))]
    assert times == sorted(times)
    assert 0 < times[0] <= times[-1] <= 600


def test_no_fault_comes_after_the_time_that_the_script_names() -> None:
    late = Line(DROP, at=(timedelta(seconds=5), timedelta(seconds=50)))
    faults = drawn(Line(DROP, rate=600), late, until=timedelta(seconds=20))
    assert max(one.at for one in faults) <= 20
    assert drawn(late, agents=1, until=timedelta(seconds=20)) == [Planned(5.0, 1, DROP)]


def test_an_exact_time_befalls_all_chosen_agents_at_once() -> None:
    faults = drawn(Line(DROP, at=(timedelta(seconds=3),), agents=frozenset({2, 4, 99})))
    assert faults == [Planned(3.0, 2, DROP), Planned(3.0, 4, DROP)]


def test_faults_of_the_disk_befall_those_that_have_one() -> None:
    assert {one.agent for one in drawn(Line(KILL, rate=100), faithful=3)} == {1, 2, 3}


def test_a_line_that_can_befall_nobody_is_named() -> None:
    script = Script((Line(DROP, rate=1), Line(KILL, rate=1), Line(DROP, rate=1, agents=frozenset({11}))))
    found = without_targets(script, agents=10, faithful=0)
    assert [problem.split(":")[0] for problem in found] == ["faults[1].agents", "faults[2].agents"]
    assert without_targets(script, agents=11, faithful=1) == []


def test_what_is_due_is_given_once() -> None:
    schedule = Schedule([Planned(1.0, 1, DROP), Planned(2.0, 2, DROP), Planned(2.0, 3, DROP)])
    assert list(schedule.due(0.9)) == []
    assert [one.agent for one in schedule.due(2.0)] == [1, 2, 3]
    assert list(schedule.due(100.0)) == []
