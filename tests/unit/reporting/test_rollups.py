from hypothesis import example, given
from hypothesis import strategies as st

from services.reporting.model.rollups import SPANS, Run, covering, start_of
from services.reporting.store.spans import Parts, Span


@given(st.integers(0, 30_000), st.integers(0, 1000), st.sampled_from([SPANS, SPANS[:1]]))
def test_spans_cover_every_day_of_a_window_once_and_no_other(first: int, days: int, spans: tuple[int, ...]) -> None:
    runs = covering(first, first + days, spans)
    starts = [(run.span, start) for run in runs for start in range(run.first, run.before, run.span)]
    assert [day for span, start in starts for day in range(start, start + span)] == list(range(first, first + days))
    assert all(start == start_of(start, span) for span, start in starts)


@given(st.integers(0, 30_000))
def test_long_windows_take_few_spans(first: int) -> None:
    def spans(days: int) -> int:
        return sum((run.before - run.first) // run.span for run in covering(first, first + days))

    assert spans(30) <= 16
    assert spans(400) <= 22


@given(st.integers(0, 30_000), st.integers(1, 1000), st.integers(0, 31_000))
def test_nothing_is_looked_for_in_spans_behind_the_newest_day(first: int, days: int, newest: int) -> None:
    runs = Span(first, first + days, (), newest).runs(SPANS)
    starts = [(run.span, start) for run in runs for start in range(run.first, run.before, run.span)]
    assert all(start <= newest for _, start in starts)
    covered = [day for span, start in starts for day in range(start, start + span) if day <= newest]
    assert covered == list(range(first, min(first + days, newest + 1)))


@given(
    st.integers(0, 30_000),
    st.one_of(st.integers(1, 20), st.integers(1, 1000)),
    st.integers(0, 31_000),
    st.integers(0, 20),
)
@example(3, 13, 31_000, 20)
@example(2, 12, 31_000, 2)
def test_closed_spans_the_days_beside_them_and_those_too_many_are_a_span_once(
    first: int, days: int, closed: int, gone: int
) -> None:
    kept = max(first - gone, 0)
    parts = Span(first, first + days, (), 31_000, closed, kept).parted(SPANS[1:])
    starts = [(run.span, start) for run in parts.runs for start in range(run.first, run.before, run.span)]
    assert all(span > 1 and start == start_of(start, span) and start + span <= closed for span, start in starts)
    made = [day for span, start in starts for day in range(start, start + span)]
    left = [day for part in parts.beside for day in range(part.first, part.before)]
    too_many = [day for part in parts.too_many for day in range(part.first, part.before)]
    assert sorted(made + left) == sorted([*range(first, first + days), *too_many])
    assert all(day >= kept for day in made)
    assert len([day for day in (*left, *too_many) if day < min(closed, first + days)]) < 2 * SPANS[1]


def test_a_closed_span_is_taken_whole_where_few_of_its_days_are_too_many() -> None:
    parts = Span(2, 23, (), 100, 64).parted(SPANS[1:])
    assert parts == Parts((Run(8, 0, 24),), (), (Span(0, 2, (), 100, 64), Span(23, 24, (), 100, 64)))
    assert Span(3, 5, (), 100, 64).parted(SPANS[1:]).runs == ()
