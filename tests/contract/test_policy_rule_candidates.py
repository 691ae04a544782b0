"""Files that approvers approve again and again are offered as rules, through the real doors."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from epm.elevation.v1 import event_pb2, rules_pb2
from epm.policy.v1 import analysis_pb2, analysis_pb2_grpc, requests_pb2
from tests.builders.approvals import FILE, Device, Support, support
from tests.builders.elevation import certificate
from tests.builders.refusals import refusal_of
from tests.builders.whole import Metadata

VIEW, MODIFY, READ = "elevation_requests.view", "elevation_requests.modify", "policy_authoring.read"
OTHER = event_pb2.FileFacts(path="/opt/other", sha256="cd" * 32)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Support]:
    async with support(tmp_path) as made:
        yield made


async def approved(desk: Support, device: Device, number: int, **values: object) -> str:
    """Have a request approved, and return it."""
    made = await device.submit(f"attempt-{number}", arguments=[str(number)], **values)
    await desk.approve(made.id)
    return made.id


async def candidates(desk: Support, who: Metadata | None = None, **values: object) -> list[requests_pb2.RuleCandidate]:
    """List rule candidates."""
    asked = requests_pb2.ListRuleCandidatesRequest(**values)  # type: ignore[arg-type]
    return list((await desk.stub.ListRuleCandidates(asked, metadata=tuple(who or desk.house.owner))).candidates)


async def test_files_that_were_approved_more_than_once_come_most_approvals_first(desk: Support) -> None:
    async with desk.device("ws-1", "alice", "bob") as first, desk.device("ws-2", "alice") as second:
        once = event_pb2.FileFacts(path="/opt/once", sha256="ef" * 32)
        await approved(desk, first, 1, file=once)
        denied = await first.submit("attempt-2", arguments=["2"], file=once)
        await desk.deny(denied.id)
        for number in (3, 4):
            await approved(desk, first, number, file=OTHER)
        await approved(desk, first, 5)
        await approved(desk, first, 6, user="bob")
        newest = await approved(desk, second, 7)
        found = await candidates(desk)
        told = [(each.file, each.approvals, each.users, each.devices) for each in found]
        assert told == [(FILE, 3, 2, 2), (OTHER, 2, 1, 1)]
        assert found[0].request_id == newest
        assert [each.file.path for each in await candidates(desk, approvals=1)][2:] == ["/opt/once"]
        assert [each.approvals for each in await candidates(desk, approvals=3)] == [3]
        assert [each.approvals for each in await candidates(desk, page_size=1)] == [3]
        later = requests_pb2.ListRuleCandidatesRequest()
        later.reviewed_from.FromJsonString("2200-01-01T00:00:00Z")
        assert await candidates(desk, reviewed_from=later.reviewed_from) == []


async def test_the_rule_and_its_findings_are_those_that_are_proposed_for_the_newest_request(desk: Support) -> None:
    chain = [certificate("vendor").der, certificate("issuing").der]
    file = event_pb2.FileFacts(path="C:\\Tools\\Setup.exe", sha256="ab" * 32, version="1.2", product_name="Tool")
    values = {"file": file, "certificates": chain, "platform": rules_pb2.PLATFORM_WINDOWS}
    async with desk.device() as device:
        newest = [await approved(desk, device, number, **values) for number in (1, 2)][-1]
        [found] = await candidates(desk)
        stub = analysis_pb2_grpc.AnalysisServiceStub(desk.house.public)
        asked = analysis_pb2.ProposeRuleRequest(
            file=file,
            certificates=chain,
            platform=rules_pb2.PLATFORM_WINDOWS,
            arguments=["2"],
            origin=f"request {newest}",
        )
        proposed = await stub.ProposeRule(asked, metadata=tuple(desk.house.owner))
        assert found.rule == proposed.rule
        assert found.rule.detection.HasField("certificate")
        assert list(found.findings) == list(proposed.findings)
        assert found.findings


async def test_evidence_that_allows_no_rule_leaves_it_out_alone(desk: Support) -> None:
    async with desk.device() as device:
        for number in (1, 2):
            await approved(desk, device, number, file=event_pb2.FileFacts(path="/opt/a*b", sha256="ab" * 32))
        [found] = await candidates(desk)
        assert (found.approvals, found.HasField("rule"), list(found.findings)) == (2, False, [])


async def test_a_file_that_a_rule_denies_meanwhile_says_so_and_comes_without_a_rule(desk: Support) -> None:
    approver = await desk.house.hire("carol", [VIEW, MODIFY])
    await desk.house.settled()
    async with desk.device() as device, device.stream() as stream:
        for number in (1, 2):
            await approved(desk, device, number)
            await approved(desk, device, number + 2, file=OTHER)
        await desk.forbid(FILE.sha256)
        await stream.ruled()
        found = {each.file.sha256: each for each in await candidates(desk)}
        denied, other = found[FILE.sha256], found[OTHER.sha256]
        assert (denied.denied_by.policy, denied.denied_by.rule) == ("blocked", "malware")
        assert (denied.approvals, denied.HasField("rule"), list(denied.findings)) == (2, False, [])
        assert (other.HasField("denied_by"), other.HasField("rule")) == (False, True)
        told = {
            each.file.sha256: each.denied_by.rule
            for each in await candidates(desk, approver)
            if each.HasField("denied_by")
        }
        assert told == {FILE.sha256: ""}


async def test_rules_are_for_those_alone_who_may_read_policies(desk: Support) -> None:
    approver = await desk.house.hire("carol", [VIEW, MODIFY])
    reader = await desk.house.hire("dave", [READ])
    await desk.house.settled()
    async with desk.device() as device:
        for number in (1, 2):
            await approved(desk, device, number)
        [found] = await candidates(desk, approver)
        assert (found.approvals, found.HasField("rule"), list(found.findings)) == (2, False, [])
        assert (await refusal_of(candidates(desk, reader))).code == "PERMISSION_DENIED"


async def test_approvals_on_devices_that_one_may_not_see_are_not_counted(desk: Support) -> None:
    emea = await desk.house.hire("carol", [VIEW, READ], tags=["emea"])
    apac = await desk.house.hire("dave", [VIEW, READ], tags=["apac"])
    await desk.house.settled()
    async with desk.device("ws-1", tags=("emea",)) as first, desk.device("ws-2", tags=("apac",)) as second:
        seen = [await approved(desk, first, number) for number in (1, 2)][-1]
        await approved(desk, second, 3)
        [found] = await candidates(desk, emea)
        assert (found.approvals, found.devices, found.request_id) == (2, 1, seen)
        assert found.HasField("rule")
        assert await candidates(desk, apac) == []
        assert [each.approvals for each in await candidates(desk)] == [3]


async def test_everything_that_is_wrong_with_the_question_is_told_at_once(desk: Support) -> None:
    asked = requests_pb2.ListRuleCandidatesRequest(page_size=-1)
    asked.reviewed_from.seconds = 1 << 60
    call = desk.stub.ListRuleCandidates(asked, metadata=tuple(desk.house.owner))
    assert (await refusal_of(call)).fields == {"reviewed_from", "page_size"}
