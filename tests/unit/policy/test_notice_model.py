"""What is told of a request, and to whom."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elevation.model import Platform
from services._chassis.permits import Permit, Scope
from services.policy.codec.notices import from_kept, to_kept
from services.policy.model.notices import (
    Interest,
    Notice,
    NoticedRequest,
    NoticeEvent,
    channels_for,
    notice_of,
    reminder_of,
)
from services.policy.model.requests import Access, ElevationRequest, End, RequestedFile, RequestState, Review
from tests.builders.notices import notice
from tests.fakes.clock import NOW

HOUR = timedelta(hours=1)
TAGS = st.frozensets(st.sampled_from(["default", "emea", "apac"]), max_size=3)


@given(TAGS, TAGS)
def test_a_channel_hears_of_what_a_role_assignment_with_its_tags_would_see(
    channel: frozenset[str], device: frozenset[str]
) -> None:
    interest = Interest(channel="webhook:chat", scope_tags=channel)
    heard = channels_for(notice(), [interest], device, now=NOW) == ("webhook:chat",)
    assert heard is Permit(scopes=(Scope(tags=channel),)).sees(device)


def test_a_channel_hears_of_no_other_event_than_it_wants() -> None:
    interest = Interest(channel="webhook:chat", events=frozenset({NoticeEvent.EXPIRED}))
    heard = {event for event in NoticeEvent if channels_for(notice(event=event), [interest], frozenset(), now=NOW)}
    assert heard == {NoticeEvent.EXPIRED}


def test_of_a_device_that_is_no_more_the_tags_count_that_it_had() -> None:
    interests = [Interest(channel=tag, scope_tags=frozenset({tag})) for tag in ("emea", "apac")]
    told = notice(scope_tags=frozenset({"emea"}))
    assert channels_for(told, interests, None, now=NOW) == ("emea",)
    assert channels_for(told, interests, frozenset({"apac"}), now=NOW) == ("apac",)


def test_a_request_is_reminded_of_once_and_while_it_can_be_decided() -> None:
    asked = notice(review_deadline=NOW + 2 * HOUR)
    reminder = reminder_of(asked, HOUR)
    assert reminder == Notice(event=NoticeEvent.REMINDER, recorded=NOW + HOUR, request=asked.request)
    assert [reminder_of(asked, after) for after in (None, 2 * HOUR, 3 * HOUR)] == [None, None, None]
    assert reminder_of(reminder, HOUR) is None
    assert all(reminder_of(notice(event=event), HOUR) is None for event in NoticeEvent if event.value != "submitted")


def test_a_reminder_that_comes_too_late_is_told_to_nobody() -> None:
    reminder = notice(event=NoticeEvent.REMINDER, review_deadline=NOW)
    assert channels_for(reminder, [Interest(channel="webhook:chat")], frozenset(), now=NOW) == ()
    asked = notice(review_deadline=NOW)
    assert channels_for(asked, [Interest(channel="webhook:chat")], frozenset(), now=NOW) == ("webhook:chat",)


def test_no_two_notices_have_one_identifier() -> None:
    assert len({notice(number, event).id for number in (1, 2) for event in NoticeEvent}) == 2 * len(NoticeEvent)


@pytest.mark.parametrize("state", RequestState)
def test_every_state_of_a_request_is_told_with_who_decided_and_why(state: RequestState) -> None:
    request = ElevationRequest(
        request_id="r1",
        device_id="d1",
        device_name="LAPTOP-7",
        user="alice",
        justification="needs it",
        attempt_id="a1",
        submitted=NOW,
        review_deadline=NOW + HOUR,
        platform=Platform.WINDOWS,
        file=RequestedFile(path=r"C:\setup.exe", sha256="ab", publisher="Contoso"),
        policy="p",
        rule="r",
        scope_tags=frozenset({"emea"}),
        state=state,
        review=Review(reviewer="user:bob", reviewed=NOW, reason="fine"),
        access=Access(begins=NOW, until=NOW + 2 * HOUR),
        end=End(ended=NOW, reason="it ended") if state is RequestState.EXPIRED else None,
    )
    told = notice_of(request, NOW)
    assert told.event.value == {"PENDING": "submitted"}.get(state.value, state.value.lower())
    assert told.request == NoticedRequest(
        request_id="r1",
        device_id="d1",
        device_name="LAPTOP-7",
        user="alice",
        justification="needs it",
        file_path=r"C:\setup.exe",
        sha256="ab",
        submitted=NOW,
        review_deadline=NOW + HOUR,
        publisher="Contoso",
        policy="p",
        rule="r",
        reviewer="user:bob",
        reason="it ended" if state is RequestState.EXPIRED else "fine",
        access_until=NOW + 2 * HOUR,
        scope_tags=frozenset({"emea"}),
    )
    assert from_kept(to_kept(told)) == told
