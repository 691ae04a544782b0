"""What may be reported from a device, and until when more might be."""

from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from elevation.model import ReportingScope
from services.device.model.reporting import SCOPES, Reported
from tests.fakes.clock import NOW

ALL, MANAGED, DIAGNOSTIC, NOTHING = (
    ReportingScope.ALL,
    ReportingScope.MANAGED,
    ReportingScope.DIAGNOSTIC,
    ReportingScope.NOTHING,
)
SCOPE = st.sampled_from(SCOPES)


def after(*scopes: ReportingScope | None) -> Reported:
    """Tell the scopes, one a second."""
    reported = Reported()
    for second, scope in enumerate(scopes):
        reported = reported.told(scope, at(second))
    return reported


def at(second: int) -> datetime:
    return NOW + timedelta(seconds=second)


def test_the_first_scope_narrows_nothing() -> None:
    assert after(MANAGED) == Reported(MANAGED)


def test_a_narrower_scope_remembers_until_when_each_wider_one_stood() -> None:
    assert after(ALL, MANAGED, NOTHING).until == ((DIAGNOSTIC, at(2)), (MANAGED, at(2)), (ALL, at(1)))


def test_a_wider_scope_forgets_what_it_allows_again() -> None:
    assert after(ALL, NOTHING, MANAGED) == Reported(MANAGED, ((ALL, at(1)),))
    assert after(ALL, NOTHING, ALL) == Reported(ALL)


def test_what_is_not_told_or_told_again_changes_nothing() -> None:
    assert after(ALL, MANAGED, None, MANAGED) == after(ALL, MANAGED)


@given(st.lists(SCOPE, min_size=1, max_size=12))
def test_each_scope_that_stands_no_more_stood_until_it_was_taken_away_for_the_last_time(
    scopes: list[ReportingScope],
) -> None:
    reported = after(*scopes)
    ranks = [SCOPES.index(scope) for scope in scopes]
    expected = {}
    for rank in range(ranks[-1] + 1, len(SCOPES)):
        ends = [second for second in range(1, len(ranks)) if ranks[second - 1] >= rank > ranks[second]]
        if ends:
            expected[SCOPES[rank]] = at(ends[-1])
    assert (reported.scope, dict(reported.until)) == (scopes[-1], expected)
