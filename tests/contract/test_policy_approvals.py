"""Support approvals at a whole installation: a device asks, approvers decide, the device hears of it."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import grpc.aio
import pytest
from google.protobuf.duration_pb2 import Duration

from epm.device.v1 import devices_pb2, devices_pb2_grpc
from epm.elevation.v1 import event_pb2, settings_pb2
from epm.policy.v1 import requests_pb2
from services.policy.model.request_limits import OF_ONE_USER
from services.policy.usecases.delivery import CAPABILITY
from tests.builders.approvals import (
    APPROVED,
    CANCELLED,
    COMPLETED,
    DENIED,
    FILE,
    PENDING,
    REVOKED,
    Device,
    Support,
    submission,
    support,
)
from tests.builders.refusals import Refusal, read_refusal, refusal_of
from tests.builders.whole import whole

if TYPE_CHECKING:
    from epm.device.v1.devices_pb2_grpc import DeviceServiceAsyncStub

VIEW, MODIFY = "elevation_requests.view", "elevation_requests.modify"


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Support]:
    async with support(tmp_path) as made:
        yield made


def hours(number: float) -> Duration:
    length = Duration()
    length.FromTimedelta(timedelta(hours=number))
    return length


async def test_a_request_is_approved_used_and_completed(desk: Support) -> None:
    async with desk.device() as device, device.stream() as stream:
        assert list((await stream.document()).grants) == []
        made = await device.submit()
        assert (made.state, made.user, made.device_name, made.delivered) == (PENDING, "alice", "ws-17", True)
        approved = await desk.approve(made.id, access=hours(2), max_uses=1, reason="checked")
        assert (approved.state, approved.review.reviewer, approved.review.reason) == (APPROVED, "user:owner", "checked")
        length = approved.access.until.ToDatetime() - getattr(approved.access, "from").ToDatetime()
        assert (length, approved.delivered) == (timedelta(hours=2), False)
        [grant] = await stream.grants(1)
        assert (grant.id, grant.user, grant.device, grant.sha256) == (made.id, "alice", "ws-17", FILE.sha256)
        assert (list(grant.arguments.values), grant.uses_left) == (["--silent"], 1)
        outcome = await stream.outcome(1)
        assert (outcome.request.id, outcome.request.state) == (made.id, APPROVED)
        assert stream.heard.index("outcome") > stream.heard.index("offer", 1)
        await device.use(made.id, "attempt-2")
        await device.use(made.id, "attempt-2")
        await stream.grants(0)
        shown = await desk.get(made.id)
        found = shown.request
        assert (found.state, found.access.uses, found.end.reason) == (COMPLETED, 1, "all uses are spent")
        assert [(use.attempt_id, use.HasField("used")) for use in shown.uses] == [("attempt-2", True)]


async def test_a_use_that_is_left_counts_down_in_the_document(desk: Support) -> None:
    async with desk.device() as device, device.stream() as stream:
        made = await device.submit()
        await desk.approve(made.id, max_uses=3, any_arguments=True)
        [grant] = await stream.grants(1)
        assert (grant.uses_left, grant.HasField("arguments")) == (3, False)
        await device.use(made.id, "attempt-2")
        number = len(stream.documents)
        async with asyncio.timeout(10):
            while len(stream.documents) == number:
                await stream._came.wait()
        [grant] = stream.documents[-1].grants
        assert grant.uses_left == 2


async def test_a_denial_reaches_the_device_now_or_with_the_next_hello_until_it_is_confirmed(desk: Support) -> None:
    async with desk.device() as device:
        made = await device.submit()
        denied = await desk.deny(made.id, "use the store")
        assert (denied.state, denied.delivered) == (DENIED, False)
        async with device.stream(capabilities=(CAPABILITY,)) as older:
            await older.document()
        async with device.stream() as first:
            outcome = await first.outcome(1)
            assert (outcome.request.state, outcome.request.review.reason) == (DENIED, "use the store")
        async with device.stream() as second:
            again = await second.outcome(1)
            assert again == outcome
            watch = desk.watch()
            await second.keep(again.sequence)
            async for message in watch:
                if any(request.id == made.id and request.delivered for request in message.requests):
                    break
            watch.cancel()
        assert older.outcomes == []
        other = await device.submit("attempt-2")
        await desk.deny(other.id)
        async with device.stream() as third:
            assert (await third.outcome(1)).request.id == other.id


async def test_a_revoked_approval_leaves_the_document(desk: Support) -> None:
    async with desk.device() as device, device.stream() as stream:
        made = await device.submit()
        await desk.approve(made.id)
        await stream.grants(1)
        revoked = await desk.revoke(made.id, "wrong file")
        assert (revoked.state, revoked.end.ended_by, revoked.end.reason) == (REVOKED, "user:owner", "wrong file")
        await stream.grants(0)
        assert (await stream.outcome(2)).request.state == REVOKED
        assert stream.outcomes[0].request.state == APPROVED
        assert not stream.outcomes[0].request.HasField("end")


async def test_of_two_approvers_one_wins_and_the_other_learns_who_and_when(desk: Support) -> None:
    carol = await desk.house.hire("carol", "Elevation Approver")
    dave = await desk.house.hire("dave", "Elevation Approver")
    await desk.house.settled()
    async with desk.device() as device:
        made = await device.submit()
        calls = [desk.approve(made.id, carol), desk.deny(made.id, "no", dave)]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        [won] = [answer for answer in answers if not isinstance(answer, BaseException)]
        refused = await refusal_of(desk.approve(made.id, carol))
        assert (refused.code, refused.reason) == ("FAILED_PRECONDITION", "REQUEST_SETTLED")
        assert refused.details["reviewer"] == won.review.reviewer
        assert refused.details["reviewed"].startswith(won.review.reviewed.ToDatetime().isoformat()[:19])
        assert (await desk.get(made.id)).request.review == won.review


async def test_the_requester_takes_a_request_back_and_nobody_else(desk: Support) -> None:
    async with desk.device("ws-17", "alice", "bob") as device:
        made = await device.submit()
        cancel = requests_pb2.CancelElevationRequestRequest
        refused = await refusal_of(device.requests.CancelElevationRequest(cancel(id=made.id, user="bob")))
        assert refused.code == "NOT_FOUND"
        for _ in range(2):
            answer = await device.requests.CancelElevationRequest(cancel(id=made.id, user="alice"))
            assert answer.request.state == CANCELLED
        assert (await refusal_of(desk.approve(made.id))).details["state"] == "CANCELLED"


async def test_the_same_attempt_and_the_same_question_have_one_request(desk: Support) -> None:
    async with desk.device("ws-17", "alice", "bob") as device:
        first = await device.submit("attempt-1")
        again = [
            await device.submit("attempt-1", justification="another word"),
            await device.submit("attempt-2"),
        ]
        assert [each.id for each in again] == [first.id, first.id]
        others = [
            await device.submit("attempt-3", user="bob"),
            await device.submit("attempt-4", arguments=["--loud"]),
        ]
        assert len({first.id, *(each.id for each in others)}) == 3
        await desk.deny(first.id)
        assert (await device.submit("attempt-5")).id != first.id


async def test_a_device_asks_only_for_its_users_and_only_where_policy_asks_for_approval(desk: Support) -> None:
    async with desk.device() as device:
        stranger = await refusal_of(device.submit(user="mallory"))
        assert (stranger.code, stranger.reason) == ("PERMISSION_DENIED", "USER_NOT_BOUND")
        await desk.respond(settings_pb2.DEFAULT_RESPONSE_USER_CONFIRMED)
        refused = await _refused_at_last(device)
        assert (refused.code, refused.reason) == ("FAILED_PRECONDITION", "APPROVAL_NOT_NEEDED")
        assert refused.details["outcome"] == "PROMPT"


async def _refused_at_last(device: Device) -> Refusal:
    """Ask until the new policy is known, each time with other arguments."""
    for number in range(OF_ONE_USER):
        try:
            await device.submit(f"try-{number}", arguments=[str(number)])
        except grpc.aio.AioRpcError as error:
            return read_refusal(error)
    raise AssertionError("nothing was refused")


async def test_all_problems_of_a_request_are_told_at_once(desk: Support) -> None:
    async with desk.device() as device:
        wrong = submission(
            "", user="", justification="x" * 257 + "\n", platform=0, file=event_pb2.FileFacts(), certificates=[b"x"]
        )
        refused = await refusal_of(device.requests.SubmitElevationRequest(wrong))
        assert refused.fields == {
            "attempt_id",
            "user",
            "justification",
            "platform",
            "file.path",
            "file.sha256",
            "certificates[0]",
        }
        uses = requests_pb2.ReportGrantUsesRequest(uses=[requests_pb2.GrantUse()])
        told = await refusal_of(device.requests.ReportGrantUses(uses))
        assert told.fields == {"uses[0].grant_id", "uses[0].attempt_id", "uses[0].used"}
        made = await device.submit()
        approval = await refusal_of(desk.approve(made.id, access=hours(24 * 31), reason="\t"))
        assert approval.fields == {"access", "reason"}
        assert (await refusal_of(desk.deny(made.id, " "))).fields == {"reason"}
        assert (await refusal_of(desk.list("size = 1"))).fields == {"filter"}


async def test_a_user_who_asks_too_often_is_told_when_to_come_back(desk: Support) -> None:
    async with desk.device("ws-17", "alice", "bob") as device:
        for number in range(OF_ONE_USER):
            await device.submit(f"attempt-{number}", arguments=[str(number)])
        refused = await refusal_of(device.submit("one-more", arguments=["more"]))
        assert (refused.code, refused.reason) == ("RESOURCE_EXHAUSTED", "TOO_MANY_REQUESTS")
        assert refused.retry_after is not None
        assert timedelta() < refused.retry_after <= timedelta(hours=1)
        assert (await device.submit("attempt-0", arguments=["0"])).state == PENDING
        assert (await device.submit("of-bob", user="bob")).user == "bob"


async def test_nobody_decides_about_their_own_request(desk: Support) -> None:
    alice = await desk.house.hire("alice", "Elevation Approver")
    await desk.house.settled()
    async with desk.device() as device:
        made = await device.submit()
        for call in (desk.approve(made.id, alice), desk.deny(made.id, "no", alice)):
            refused = await refusal_of(call)
            assert (refused.code, refused.reason) == ("PERMISSION_DENIED", "OWN_REQUEST")
        assert (await desk.get(made.id)).request.state == PENDING


async def test_a_retired_device_and_a_removed_user_lose_what_was_granted(desk: Support) -> None:
    async with desk.device("ws-17", "alice", "bob") as device, device.stream() as stream:
        granted, pending = await device.submit(), await device.submit("attempt-2", user="bob")
        waiting = await device.submit("attempt-3", arguments=["--wait"])
        await desk.approve(granted.id)
        await stream.grants(1)
        stub: DeviceServiceAsyncStub = devices_pb2_grpc.DeviceServiceStub(desk.house.public)
        ask = devices_pb2.GetDeviceRequest(device=device.device_id)
        known = (await stub.GetDevice(ask, metadata=tuple(desk.house.owner))).device
        del known.users[:]
        known.users.append("bob")
        update = devices_pb2.UpdateDeviceRequest(device=known)
        await stub.UpdateDevice(update, metadata=tuple(desk.house.owner))
        await stream.grants(0)
        ended = {each.id: each for each in [(await stream.outcome(number)).request for number in (2, 3)]}
        assert {each.end.reason for each in ended.values()} == {"the user was removed from the device"}
        assert (ended[granted.id].state, ended[waiting.id].state) == (REVOKED, CANCELLED)
        await desk.retire(device.device_id)
        async with asyncio.timeout(10):
            await device.gone("bob")
        async for message in desk.watch():
            if any(each.id == pending.id and each.state == CANCELLED for each in message.requests):
                break
        ended_too = (await desk.get(pending.id)).request
        assert (ended_too.end.reason, ended_too.end.ended_by) == ("the device is enrolled no more", "")
        assert (await refusal_of(desk.approve(pending.id))).reason == "NOBODY_TO_GRANT_TO"


async def test_what_was_decided_before_the_server_ended_is_told_by_the_one_that_comes(tmp_path: Path) -> None:
    async with support(tmp_path) as desk, desk.device() as device:
        granted = await device.submit()
        denied = await device.submit("attempt-2", arguments=["--two"])
        await desk.approve(granted.id)
        await desk.deny(denied.id)
    async with whole(tmp_path) as house, house.mesh(device.enrolled.identity) as channel:
        again = Device(device.enrolled, channel)
        async with again.stream() as stream:
            [grant] = await stream.grants(1)
            told = [(await stream.outcome(number)).request for number in (1, 2)]
        assert grant.id == granted.id
        assert [(each.id, each.state) for each in told] == [(granted.id, APPROVED), (denied.id, DENIED)]


async def test_nothing_is_taken_back_that_was_not_approved(desk: Support) -> None:
    async with desk.device() as device:
        made = await device.submit()
        refused = await refusal_of(desk.revoke(made.id))
        assert (refused.code, refused.details["state"]) == ("FAILED_PRECONDITION", "PENDING")
        assert (await refusal_of(desk.revoke("0197"))).code == "NOT_FOUND"
        await desk.deny(made.id)
        assert (await refusal_of(desk.revoke(made.id))).details["state"] == "DENIED"
