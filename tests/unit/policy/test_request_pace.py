"""Calls of devices about requests count before anybody looks at them."""

from collections.abc import Callable
from typing import Any, cast

import pytest

from epm.policy.v1 import requests_pb2
from services._chassis.caller import CallContext, Caller, CallerKind, set_call
from services._chassis.errors import LimitError
from services._chassis.permits import Permit
from services.policy.device_request_servicer import DeviceRequestServicer
from services.policy.model.directory import DirectoryDevice
from services.policy.usecases.requests.pace import (
    ASKS_OF_ONE_DEVICE,
    ASKS_OF_ONE_USER,
    PERIOD,
    REPORTS_OF_ONE_DEVICE,
    Pace,
)
from tests.fakes.clock import FakeClock
from tests.fakes.policy_delivery import device

USERS = tuple(f"user-{number}" for number in range(10))
SHARED = device("d1", *USERS)


def refused(call: Callable[[], None]) -> LimitError:
    with pytest.raises(LimitError) as error:
        call()
    assert error.value.reason == "TOO_MANY_REQUESTS"
    return error.value


def test_a_user_who_asks_without_end_waits_and_leaves_the_others_their_part() -> None:
    clock = FakeClock()
    pace = Pace(clock.monotonic)
    for _ in range(ASKS_OF_ONE_USER):
        pace.ask(SHARED, "user-0")
    for _ in range(ASKS_OF_ONE_DEVICE):
        refused(lambda: pace.ask(SHARED, "user-0"))
    error = refused(lambda: pace.ask(SHARED, "user-0"))
    assert str(error) == "this user calls too often about requests; try again in 12 s"
    assert error.retry_after == PERIOD / ASKS_OF_ONE_USER
    pace.ask(SHARED, "user-1")
    clock.advance(PERIOD / ASKS_OF_ONE_USER)
    pace.ask(SHARED, "user-0")
    refused(lambda: pace.ask(SHARED, "user-0"))


def test_all_users_together_have_no_more_than_their_device() -> None:
    pace = Pace(FakeClock().monotonic)
    for number in range(ASKS_OF_ONE_DEVICE):
        pace.ask(SHARED, USERS[number % len(USERS)])
    assert "this device" in str(refused(lambda: pace.ask(SHARED, "user-0")))
    pace.ask(device("d2", "user-0"), "user-0")


def test_users_whom_a_device_makes_up_share_one_part() -> None:
    pace = Pace(FakeClock().monotonic)
    for number in range(ASKS_OF_ONE_USER):
        pace.ask(SHARED, f"nobody-{number}")
    refused(lambda: pace.ask(SHARED, "nobody-else"))
    pace.ask(SHARED, "user-0")


def test_uses_are_told_though_too_much_was_asked_and_the_other_way_round() -> None:
    pace = Pace(FakeClock().monotonic)
    for _ in range(REPORTS_OF_ONE_DEVICE):
        pace.report(SHARED)
    refused(lambda: pace.report(SHARED))
    pace.ask(SHARED, "user-0")


async def test_every_call_of_a_device_counts_before_it_is_looked_at() -> None:
    async def admit(_device_id: str, _serial: str) -> DirectoryDevice:
        return SHARED

    pace = Pace(FakeClock().monotonic)
    nobody = cast("Any", None)
    servicer = DeviceRequestServicer(admit, nobody, nobody, pace=pace, now=FakeClock().now)
    for _ in range(ASKS_OF_ONE_USER):
        pace.ask(SHARED, "user-0")
    for _ in range(REPORTS_OF_ONE_DEVICE):
        pace.report(SHARED)
    set_call(
        CallContext(
            caller=Caller(kind=CallerKind.DEVICE, device_id="d1"),
            permit=Permit(),
            request_id="r",
            decision_id="d",
        )
    )
    for call in (
        servicer.SubmitElevationRequest(requests_pb2.SubmitElevationRequestRequest(user="user-0"), nobody),
        servicer.CancelElevationRequest(requests_pb2.CancelElevationRequestRequest(user="user-0"), nobody),
        servicer.ReportGrantUses(requests_pb2.ReportGrantUsesRequest(), nobody),
    ):
        with pytest.raises(LimitError):
            await call
