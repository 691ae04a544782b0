from datetime import timedelta

import pytest

from fleet.model import Fault, FaultKind
from fleet.script import Line, Script, ScriptError, read_duration, read_script

GOOD = """
seed: 7
until: 1.5m
faults:
  - {fault: lose-ack, rate: 30}
  - {fault: reconnect, at: [5s, 10s]}
  - {fault: clock, rate: 0.5, by: -365d, for: 2s, agents: [1, 4-6]}
"""
BAD = """
seed: many
until: soon
colour: red
faults:
  - {fault: explode, rate: 1}
  - {fault: drop}
  - {fault: drop, rate: 1, at: 3s}
  - {fault: drop, rate: -1, agents: [0, 9-3, some]}
  - {fault: clock, rate: 1}
  - {fault: restart, rate: 1, for: 3s, by: 1d}
  - {fault: clone, at: [5s, later, -1s]}
  - drop
  - {fault: drop, rate: 1, when: now}
"""


def problems(text: str) -> list[str]:
    with pytest.raises(ScriptError) as refusal:
        read_script(text)
    return refusal.value.problems


def test_a_script_says_what_goes_wrong_how_often_and_to_whom() -> None:
    assert read_script(GOOD) == Script(
        lines=(
            Line(Fault(FaultKind.LOSE_ACK), rate=30.0),
            Line(Fault(FaultKind.RECONNECT), at=(timedelta(seconds=5), timedelta(seconds=10))),
            Line(
                Fault(FaultKind.CLOCK, timedelta(seconds=2), timedelta(days=-365)),
                rate=0.5,
                agents=frozenset({1, 4, 5, 6}),
            ),
        ),
        seed=7,
        until=timedelta(seconds=90),
    )


def test_all_that_is_wrong_with_a_script_is_said_at_once_and_where() -> None:
    found = problems(BAD)
    places = [problem.split(":")[0] for problem in found]
    assert places == [
        "colour",
        "seed",
        "until",
        "faults[0].fault",
        "faults[1]",
        "faults[2]",
        "faults[3].rate",
        "faults[3].agents",
        "faults[3].agents",
        "faults[3].agents",
        "faults[4].by",
        "faults[5].for",
        "faults[5].by",
        "faults[6].at",
        "faults[6].at",
        "faults[7]",
        "faults[8].when",
    ]
    assert "must be one of cut, drop, lose-ack" in found[3]


@pytest.mark.parametrize("text", ["", "[]", "faults: []", "faults: {drop: 1}", "until: 3s"])
def test_a_script_without_faults_is_none(text: str) -> None:
    assert len(problems(text)) == 1


def test_what_is_no_yaml_is_said_in_one_line() -> None:
    (problem,) = problems("faults: [")
    assert problem.startswith("the script is no YAML")
    assert "\n" not in problem


@pytest.mark.parametrize(
    ("kind", "lasts"), [("slow-reader", 3), ("stop-reading", 10), ("clone", 2), ("drop", 0), ("restart", 0)]
)
def test_what_lasts_has_a_usual_length(kind: str, lasts: int) -> None:
    (line,) = read_script(f"faults: [{{fault: {kind}, rate: 1}}]").lines
    assert line.fault.lasts == timedelta(seconds=lasts)


@pytest.mark.parametrize("kind", FaultKind)
def test_every_kind_of_fault_can_be_written(kind: FaultKind) -> None:
    jump = ", by: 1d" if kind is FaultKind.CLOCK else ""
    (line,) = read_script(f"faults: [{{fault: {kind.value}, rate: 1{jump}}}]").lines
    assert line.fault.kind is kind


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("250ms", timedelta(milliseconds=250)),
        ("90s", timedelta(seconds=90)),
        ("1.5m", timedelta(seconds=90)),
        ("2h", timedelta(hours=2)),
        ("-365d", timedelta(days=-365)),
    ],
)
def test_durations_are_written_as_people_write_them(text: str, length: timedelta) -> None:
    assert read_duration(text) == length


@pytest.mark.parametrize("text", ["", "5", "s", "5 s", "5w", "1e3s", "9" * 400 + "d"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=text[:20] or "^$"):
        read_duration(text)
