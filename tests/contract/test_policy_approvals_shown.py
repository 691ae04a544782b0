"""Elevation requests as approvers see them: lists, single ones with their evidence, as they change, and in the audit log."""

import hashlib
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from epm.access.v1 import audit_pb2, audit_pb2_grpc
from epm.device.v1 import devices_pb2, devices_pb2_grpc
from epm.elevation.v1 import event_pb2, settings_pb2
from epm.policy.v1 import requests_pb2
from tests.builders.approvals import (
    APPROVED,
    DENIED,
    FILE,
    PENDING,
    Device,
    Support,
    submission,
    support,
)
from tests.builders.elevation import certificate
from tests.builders.refusals import refusal_of

OTHER = event_pb2.FileFacts(path="/opt/tool/other", sha256="cd" * 32)
VIEW, MODIFY = "elevation_requests.view", "elevation_requests.modify"


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Support]:
    async with support(tmp_path) as made:
        yield made


async def test_approvers_see_requests_of_devices_that_carry_their_tags(desk: Support) -> None:
    emea = await desk.house.hire("carol", [VIEW, MODIFY], tags=["emea"])
    apac = await desk.house.hire("dave", [VIEW, MODIFY], tags=["apac"])
    await desk.house.settled()
    async with desk.device("ws-17", tags=("emea",)) as device:
        made = await device.submit()
        assert [each.id for each in (await desk.list(who=emea)).requests] == [made.id]
        assert list((await desk.list(who=apac)).requests) == []
        for call in (desk.get(made.id, apac), desk.approve(made.id, apac), desk.deny(made.id, "no", apac)):
            assert (await refusal_of(call)).code == "NOT_FOUND"
        watch = desk.watch(who=apac)
        assert list((await watch.read()).requests) == []
        watch.cancel()
        assert (await desk.approve(made.id, emea)).state == APPROVED


async def test_a_watcher_sees_what_waits_then_what_changes_and_goes_on_where_it_was(desk: Support) -> None:
    async with desk.device() as device:
        first = await device.submit()
        watch = desk.watch()
        message = await watch.read()
        assert [(each.id, each.state) for each in message.requests] == [(first.id, PENDING)]
        second = await device.submit("attempt-2", arguments=["--two"])
        message = await watch.read()
        assert [each.id for each in message.requests] == [second.id]
        watch.cancel()
        await desk.deny(first.id)
        resumed = desk.watch(message.cursor)
        message = await resumed.read()
        assert [(each.id, each.state) for each in message.requests] == [(first.id, DENIED)]
        resumed.cancel()
        fresh = desk.watch()
        assert [each.id for each in (await fresh.read()).requests] == [second.id]
        fresh.cancel()
        for cursor in ("nonsense", "999999."):
            broken = desk.watch(cursor)
            assert (await refusal_of(broken.read())).fields == {"cursor"}


async def test_a_watcher_hears_of_what_waits_on_a_device_that_gets_their_tag_or_that_their_scope_comes_to_cover(
    desk: Support,
) -> None:
    apac = await desk.house.hire("dave", [VIEW], tags=["apac"])
    await desk.house.hire("erin", [VIEW], tags=["emea", "latam"])
    await desk.house.settled()
    async with desk.device("ws-1", tags=("emea",)) as first, desk.device("ws-2", tags=("latam",)) as second:
        made = [(await device.submit()).id for device in (first, second)]
        watch = desk.watch(who=apac)
        begun = await watch.read()
        assert list(begun.requests) == []
        await retag(desk, first, "apac")
        message = await watch.read()
        assert ([(each.id, each.state) for each in message.requests], message.cursor) == (
            [(made[0], PENDING)],
            begun.cursor,
        )
        await desk.house.hire("dave", [VIEW], tags=["latam"], part="more")
        assert [each.id for each in (await watch.read()).requests] == [made[1]]
        watch.cancel()


async def retag(desk: Support, device: Device, tag: str) -> None:
    """Have a device carry one scope tag."""
    stub = devices_pb2_grpc.DeviceServiceStub(desk.house.public)
    asked = devices_pb2.GetDeviceRequest(device=device.device_id)
    known = (await stub.GetDevice(asked, metadata=tuple(desk.house.owner))).device
    known.scope_tags[:] = [tag]
    await stub.UpdateDevice(devices_pb2.UpdateDeviceRequest(device=known), metadata=tuple(desk.house.owner))


async def test_lists_are_filtered_and_come_in_pages_newest_first(desk: Support) -> None:
    async with desk.device() as device:
        made = [(await device.submit(f"attempt-{number}", arguments=[str(number)])).id for number in range(3)]
        await desk.deny(made[1])
        page = await desk.list(page_size=2)
        assert [each.id for each in page.requests] == [made[2], made[1]]
        rest = await desk.list(page_size=2, page_token=page.next_page_token)
        assert ([each.id for each in rest.requests], rest.next_page_token) == ([made[0]], "")
        for asked, found in {
            "state = PENDING": [made[2], made[0]],
            "state = DENIED AND user = alice": [made[1]],
            'fileName = "setup" AND NOT state = PENDING': [made[1]],
            'reviewer = "user:owner"': [made[1]],
            f'sha256 = "{FILE.sha256}" AND device = "other"': [],
        }.items():
            assert [each.id for each in (await desk.list(asked)).requests] == found, asked


async def test_every_change_is_audited_with_both_reasons(desk: Support) -> None:
    async with desk.device() as device:
        made = await device.submit()
        await desk.approve(made.id, reason="checked")
        await desk.revoke(made.id, "wrong file")
    stub = audit_pb2_grpc.AuditServiceStub(desk.house.public)
    asked = audit_pb2.ListAuditRecordsRequest(target=made.id, service=audit_pb2.AUDITED_SERVICE_POLICY)
    records = (await stub.ListAuditRecords(asked, metadata=tuple(desk.house.owner))).records
    told = [(record.action, record.actor, record.reason) for record in reversed(records)]
    assert told == [
        ("elevation_request_submitted", f"device:{device.device_id}", "a driver for the label printer"),
        ("elevation_request_approved", "user:owner", "checked"),
        ("elevation_request_revoked", "user:owner", "wrong file"),
    ]
    assert {record.details["justification"] for record in records} == {"a driver for the label printer"}


async def test_the_evidence_of_a_request_is_shown_whole_with_the_certificate_chain(desk: Support) -> None:
    chain = [certificate("vendor").der, certificate("issuing").der]
    facts = event_pb2.FileFacts(
        path="/opt/tool/setup",
        sha256="AB" * 32,
        version="1.2",
        description="Setup",
        product_name="Tool",
        internal_name="setup",
        company_name="Vendor",
        publisher="CN=whoever the device says",
        publisher_fingerprint=hashlib.sha256(chain[0]).hexdigest(),
    )
    async with desk.device() as device:
        made = await device.submit(file=facts, certificates=chain)
        found = await desk.get(made.id)
        assert list(found.certificates) == chain
        facts.sha256, facts.publisher = facts.sha256.lower(), certificate("vendor").subject
        assert (found.request.file, list(found.request.arguments)) == (facts, ["--silent"])
        assert (found.request.attempt_id, found.request.justification) == (
            "attempt-1",
            "a driver for the label printer",
        )
        assert found.request.review_deadline.ToDatetime() - found.request.submitted.ToDatetime() == timedelta(days=7)
        wrong = submission("attempt-2", file=facts, certificates=[chain[1]])
        refused = await refusal_of(device.requests.SubmitElevationRequest(wrong))
        assert refused.fields == {"certificates[0]"}


async def test_what_a_rule_of_today_denies_is_not_approved_and_the_approver_learns_by_which_rule(desk: Support) -> None:
    blind = await desk.house.hire("carol", [VIEW, MODIFY])
    await desk.house.settled()
    async with desk.device() as device, device.stream() as stream:
        made, other = await device.submit(), await device.submit("attempt-2", file=OTHER)
        await desk.forbid(FILE.sha256)
        await stream.ruled()
        refused = await refusal_of(desk.approve(made.id))
        assert (refused.code, refused.reason) == ("FAILED_PRECONDITION", "DENIED_BY_RULE")
        assert {name: refused.details[name] for name in ("policy", "rule")} == {"policy": "blocked", "rule": "malware"}
        hidden = await refusal_of(desk.approve(made.id, blind))
        assert (hidden.reason, hidden.details.keys() & {"policy", "rule"}) == ("DENIED_BY_RULE", set())
        assert hidden.message.startswith("a rule that you may not see denies the file")
        denial = requests_pb2.StandingDenial
        assert (await desk.get(made.id)).denied_by == denial(policy="blocked", rule="malware")
        assert (await desk.get(made.id, blind)).denied_by == denial()
        assert not (await desk.get(other.id)).HasField("denied_by")
        assert (await desk.get(made.id)).request.state == PENDING
        assert (await desk.approve(other.id)).state == APPROVED
        assert (await desk.deny(made.id)).state == DENIED
        assert (await refusal_of(desk.approve(made.id))).reason == "REQUEST_SETTLED"
        assert not (await desk.get(made.id)).HasField("denied_by")


async def test_what_the_default_response_of_today_denies_is_not_approved_either(desk: Support) -> None:
    async with desk.device() as device, device.stream() as stream:
        made = await device.submit()
        number = len(stream.documents)
        await desk.respond(settings_pb2.DEFAULT_RESPONSE_DENY)
        await stream.after(number)
        refused = await refusal_of(desk.approve(made.id))
        assert (refused.reason, refused.details.keys() & {"policy", "rule"}) == ("DENIED_BY_RULE", set())
        assert refused.message.startswith("the default response denies the file")
        assert (await desk.get(made.id)).denied_by == requests_pb2.StandingDenial(default_response=True)


async def test_whoever_comes_second_learns_who_ended_it(desk: Support) -> None:
    dave = await desk.house.hire("dave", [VIEW, MODIFY])
    await desk.house.settled()
    async with desk.device() as device:
        made = await device.submit()
        await desk.approve(made.id)
        await desk.revoke(made.id, "wrong file", dave)
        refused = await refusal_of(desk.revoke(made.id, "mine"))
        assert refused.reason == "REQUEST_SETTLED"
        assert "decided by user:owner at " in refused.message
        assert "ended by user:dave at " in refused.message
