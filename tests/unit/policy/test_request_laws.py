"""The life of an elevation request, against a machine that was written without looking at it."""

from dataclasses import replace
from datetime import timedelta

import hypothesis.strategies as st
import pytest
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from services._chassis.errors import StateError
from services.policy.model.directory import DirectoryDevice
from services.policy.model.requests import (
    DEVICE_ANEW,
    DEVICE_GONE,
    USER_GONE,
    Access,
    ElevationRequest,
    End,
    RequestState,
    Review,
    gone,
    grants_on,
)
from tests.builders.requests import request
from tests.fakes.clock import NOW

MINUTE = timedelta(minutes=1)
DEADLINE = 10
"""Minutes until nobody can decide any longer."""


class Life(RuleBasedStateMachine):
    """Live a request, and count minutes and uses by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.request: ElevationRequest
        self.minute = 0
        self.state = "PENDING"
        self.until = 0
        self.most = self.uses = 0
        self.final: ElevationRequest | None = None

    @initialize()
    def submit(self) -> None:
        """Ask."""
        self.request = request(review_deadline=NOW + DEADLINE * MINUTE)

    @rule(minutes=st.integers(-3, 8))
    def time_passes(self, minutes: int) -> None:
        """Let time pass, or a clock be set back; somebody may write down what it did, or not."""
        self.minute += minutes

    @rule()
    def sweep(self) -> None:
        """Write down what time did."""
        self.request = self.request.at(self.now)
        if self.state == "PENDING" and self.minute >= DEADLINE:
            self.state = "EXPIRED"
        if self.state == "APPROVED" and self.minute >= self.until:
            self.state = "EXPIRED"

    @rule(length=st.integers(1, 6), most=st.integers(0, 2))
    def approve(self, length: int, most: int) -> None:
        """Approve for some minutes."""
        review = Review(reviewer="user:carol", reviewed=self.now)
        access = Access(begins=self.now, until=self.now + length * MINUTE, max_uses=most)
        if self._tried(lambda: self.request.approved(review, access), self.open_for_review):
            self.state, self.until, self.most = "APPROVED", self.minute + length, most

    @rule()
    def deny(self) -> None:
        """Say no."""
        review = Review(reviewer="user:dave", reviewed=self.now, reason="no")
        if self._tried(lambda: self.request.denied(review), self.open_for_review):
            self.state = "DENIED"

    @rule()
    def cancel(self) -> None:
        """Take it back, as often as wanted."""
        allowed = self.open_for_review or self.state == "CANCELLED"
        if self._tried(lambda: self.request.cancelled(self.now), allowed):
            self.state = "CANCELLED"

    @rule()
    def revoke(self) -> None:
        """Take the approval back."""
        end = End(ended=self.now, reason="wrong", ended_by="user:carol")
        allowed = self.state == "APPROVED" and self.minute < self.until
        if self._tried(lambda: self.request.revoked(end), allowed):
            self.state = "REVOKED"

    @rule()
    def lose(self) -> None:
        """Let the device or the user be gone: what time has ended is left to time."""
        self.request = self.request.lost(End(ended=self.now, reason=USER_GONE))
        if self.open_for_review:
            self.state = "CANCELLED"
        elif self.state == "APPROVED" and self.minute < self.until:
            self.state = "REVOKED"

    @rule(times=st.integers(1, 2))
    def use(self, times: int) -> None:
        """Tell uses, perhaps late."""
        self.request = self.request.used(times, self.now)
        if self.request.access is None:
            return
        self.uses += times
        if self.state == "APPROVED" and self.minute >= self.until:
            self.state = "EXPIRED"
        elif self.state == "APPROVED" and self.most and self.uses >= self.most:
            self.state = "COMPLETED"

    @precondition(lambda self: self.state not in ("PENDING", "APPROVED"))
    @rule()
    def remember(self) -> None:
        """Remember how it ended."""
        self.final = self.final or self.request

    @invariant()
    def both_agree(self) -> None:
        """Compare."""
        if not hasattr(self, "request"):
            return
        assert self.request.state.value == self.state
        assert (self.request.access.uses if self.request.access else 0) == self.uses
        shown = self.request.at(self.now).state.value
        if self.open_for_review:
            assert shown == "PENDING"
        elif self.state == "PENDING":
            assert shown == "EXPIRED"
        assert (self.request.grant("ws-17") is not None) == (self.state == "APPROVED")

    @invariant()
    def what_is_final_stays(self) -> None:
        """Compare with how it ended; uses that are told late are counted all the same."""
        if self.final is not None:
            counted = replace(self.request, access=self.final.access)
            assert counted == self.final
            assert self.request.at(self.now) == self.request

    @property
    def now(self):  # type: ignore[no-untyped-def] # noqa: ANN201
        """Return the time."""
        return NOW + self.minute * MINUTE

    @property
    def open_for_review(self) -> bool:
        """Tell whether somebody can decide."""
        return self.state == "PENDING" and self.minute < DEADLINE

    def _tried(self, step, allowed: bool) -> bool:  # type: ignore[no-untyped-def] # noqa: ANN001, FBT001
        if allowed:
            self.request = step()
        else:
            with pytest.raises(StateError):
                step()
        return allowed


TestLife = Life.TestCase


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({}, ""),
        ({"enrolled": False}, DEVICE_GONE),
        ({"users": frozenset({"bob"})}, USER_GONE),
        ({"life": NOW + MINUTE}, DEVICE_ANEW),
    ],
)
def test_nothing_is_granted_on_a_device_or_to_a_user_that_is_gone(changed: dict[str, object], why: str) -> None:
    access = Access(begins=NOW, until=NOW + MINUTE, max_uses=3, uses=1)
    approved = request(life=NOW).approved(Review(reviewer="user:carol", reviewed=NOW), access)
    known = DirectoryDevice(device_id="d1", name="WS-17", enrolled=True, users=frozenset({"alice"}), life=NOW)
    device = replace(known, **changed)  # type: ignore[arg-type]
    assert gone(approved, device) == why
    assert [(grant.id, grant.device, grant.uses_left) for grant in grants_on(device, [approved])] == (
        [] if why else [(approved.request_id, "WS-17", 2)]
    )


def test_what_a_device_is_told_late_is_told_as_it_was() -> None:
    access = Access(begins=NOW, until=NOW + MINUTE)
    approved = request().approved(Review(reviewer="user:carol", reviewed=NOW), access)
    revoked = approved.revoked(End(ended=NOW, reason="wrong", ended_by="user:carol"))
    assert revoked.as_told(RequestState.APPROVED) == approved
    assert revoked.as_told(RequestState.REVOKED) == revoked
