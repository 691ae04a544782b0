"""What waits for the disk: order, priorities, and how much of it is held."""

from collections import Counter, defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st

from services.reporting.model.backlog import PART, TURNS, Backlog, Bounds, Waiting
from services.reporting.model.events import Batch, Priority
from tests.fakes.reporting import batch, decided

ATTEMPT, HEALTH = Priority.SECURITY, Priority.DIAGNOSTIC
KEPT = batch([decided(number) for number in range(1, 9)])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from("ab"), st.sampled_from("jk"), st.sampled_from([ATTEMPT, HEALTH]), st.integers(1, 8)),
        st.none(),
    ),
    max_size=60,
)


def a_batch(
    device: str, size: int = 1, *, journal: str = "j", priority: Priority = ATTEMPT, received: int = 0
) -> Batch:
    return Batch(
        device_id=device,
        device_name="",
        journal_id=journal,
        received=received,
        priority=priority,
        attempts=KEPT.attempts[:size],
    )


def backlog(*, group: int = 10, entries: int = 100, most_bytes: int = 1 << 20) -> Backlog[int]:
    return Backlog(Bounds(group, entries, most_bytes))


def taken(waiting: Backlog[int]) -> list[str]:
    return [one.batch.device_id for one in waiting.next_group()]


@given(STEPS)
@settings(deadline=None)
def test_journals_keep_their_order_and_everything_comes_out_once(
    steps: list[tuple[str, str, Priority, int] | None],
) -> None:
    waiting, came, left = backlog(entries=12), defaultdict[tuple[str, str], list[int]](list), defaultdict(list)
    for number, step in enumerate((*steps, *[None] * len(steps))):
        if step is None:
            for one in waiting.next_group():
                left[one.journal].append(one.batch.received)
            continue
        device, journal, priority, size = step
        waiting.add(a_batch(device, size, journal=journal, priority=priority, received=number), 0)
        came[device, journal].append(number)
    assert left == came
    assert not len(waiting)


@given(STEPS)
@settings(deadline=None)
def test_no_more_is_admitted_than_the_backlog_takes_but_for_one_that_is_larger(
    steps: list[tuple[str, str, Priority, int] | None],
) -> None:
    waiting, inside = backlog(entries=6), set[Waiting[int]]()
    for step in steps:
        if step is None:
            inside -= set(waiting.next_group())
            inside |= set(waiting.newly_admitted())
        elif (one := waiting.add(a_batch(step[0], step[3], priority=step[2]), 0)).admitted:
            inside.add(one)
        assert len(inside) <= 1 or sum(one.size for one in inside) <= 6


def test_attempts_go_before_the_clients_health() -> None:
    waiting = backlog(group=2)
    for device, priority in (("h1", HEALTH), ("a1", ATTEMPT), ("h2", HEALTH), ("a2", ATTEMPT), ("a3", ATTEMPT)):
        waiting.add(a_batch(device, priority=priority), 0)
    assert [taken(waiting) for _ in range(3)] == [["a1", "a2"], ["a3", "h1"], ["h2"]]


def test_health_beside_attempts_is_a_small_part_of_a_group_and_a_whole_one_alone() -> None:
    waiting = backlog(group=10)
    waiting.add(a_batch("a"), 0)
    for _ in range(12):
        waiting.add(a_batch("h", priority=HEALTH), 0)
    assert [Counter(taken(waiting)) for _ in range(3)] == [{"a": 1, "h": 10 // PART}, {"h": 10}, {"h": 1}]


def test_health_never_waits_for_ever() -> None:
    waiting = backlog(group=10)
    waiting.add(a_batch("h", priority=HEALTH), 0)
    groups = []
    for _ in range(TURNS + 1):
        for _ in range(20):
            waiting.add(a_batch("a"), 0)
        groups.append(taken(waiting))
    assert ["h" in group for group in groups] == [*[False] * TURNS, True]
    assert len(groups[-1]) == 10


def test_a_journal_that_changes_its_priority_keeps_its_order() -> None:
    waiting = backlog(group=1)
    waiting.add(a_batch("x", priority=HEALTH, received=1), 0)
    waiting.add(a_batch("x", received=2), 0)
    waiting.add(a_batch("y"), 0)
    order = [(one.batch.device_id, one.batch.received) for _ in range(3) for one in waiting.next_group()]
    assert order == [("y", 0), ("x", 1), ("x", 2)]


def test_what_there_is_no_room_for_is_admitted_in_turn() -> None:
    waiting = backlog(group=2, entries=2)
    first, second, third = (waiting.add(a_batch(device, 2), 0) for device in "abc")
    assert [one.admitted for one in (first, second, third)] == [True, False, False]
    waiting.next_group()
    assert list(waiting.newly_admitted()) == [second]


def test_bytes_are_bounded_too() -> None:
    waiting = backlog(most_bytes=KEPT.weight)
    assert [waiting.add(a_batch(device, 8), 0).admitted for device in "ab"] == [True, False]


def test_what_was_not_admitted_can_be_withdrawn_and_what_was_stays() -> None:
    waiting = backlog(entries=1)
    inside, outside = waiting.add(a_batch("a"), 0), waiting.add(a_batch("b"), 0)
    waiting.withdraw(inside)
    waiting.withdraw(outside)
    assert taken(waiting) == ["a"]
    assert taken(waiting) == []


def test_the_pressure_tells_what_waits_in_entries_or_bytes() -> None:
    waiting = backlog(entries=16)
    waiting.add(a_batch("a", 8), 0)
    assert waiting.pressure(3).crowded
    assert not waiting.pressure(3).full
    assert waiting.pressure(3).share == 5
    heavy = backlog(most_bytes=KEPT.weight)
    heavy.add(a_batch("a", 8), 0)
    assert heavy.pressure(1).full


def test_what_is_dropped_of_a_journal_leaves_whatever_its_priority_and_whether_or_not_there_was_room() -> None:
    waiting = backlog(entries=3)
    dropped = [
        waiting.add(a_batch("d", journal=journal, priority=priority), 0)
        for journal, priority in (("j", ATTEMPT), ("k", HEALTH))
    ]
    stays, of_another = waiting.add(a_batch("other"), 0), waiting.add(a_batch("d", journal="l"), 0)
    dropped.append(waiting.add(a_batch("d", journal="k"), 0))
    assert [one.admitted for one in (*dropped, stays, of_another)] == [True, True, False, True, False]
    assert set(waiting.drop({("d", "j"), ("d", "k"), ("d", "unknown")})) == set(dropped)
    assert list(waiting.newly_admitted()) == [of_another]
    assert (waiting.entries, taken(waiting), len(waiting)) == (2, ["other", "d"], 0)
    assert waiting.pressure(1).waiting == 0
