"""Uses of grants that are told late."""

from datetime import timedelta

import pytest

from services.policy.model.requests import WINDOW_ENDED, Access, ElevationRequest, RequestState, Review
from tests.builders.requests import request
from tests.fakes.clock import NOW

HOUR = timedelta(hours=1)


def approved() -> ElevationRequest:
    access = Access(begins=NOW, until=NOW + HOUR, max_uses=1)
    return request(review_deadline=NOW + 2 * HOUR).approved(Review(reviewer="user:carol", reviewed=NOW), access)


@pytest.mark.parametrize("late", [HOUR, 2 * HOUR])
def test_the_last_use_of_a_grant_that_time_has_ended_is_counted_and_completes_nothing(late: timedelta) -> None:
    told = approved().used(1, NOW + late)
    assert told.access is not None
    assert told.end is not None
    assert (told.state, told.access.uses) == (RequestState.EXPIRED, 1)
    assert (told.end.ended, told.end.reason) == (NOW + HOUR, WINDOW_ENDED)


def test_the_last_use_within_the_window_completes() -> None:
    assert approved().used(1, NOW + HOUR - timedelta(microseconds=1)).state is RequestState.COMPLETED
