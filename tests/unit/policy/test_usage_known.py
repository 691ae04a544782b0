"""What rules are used for reaches lint from the reporting service, and nothing waits for it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from elevation.lint.findings import ApprovedFile, Usage
from elevation.lint.usage import MANY_APPROVALS, UNUSED_AFTER
from elevation.model import DefaultResponse, LintIgnore
from epm.policy.v1 import analysis_pb2
from epm.reporting.v1 import usage_pb2, usage_pb2_grpc
from services._chassis.server import ServiceParts
from services.policy.clients.usage import GOOD_FOR, UsageWatch
from services.policy.codec.authored import rules_policy_to_proto, settings_policy_to_proto
from services.policy.usecases.scope import READ
from tests.builders.doors import open_doors, service_identity
from tests.builders.linted import Linted, base, linted, sound, told, tools
from tests.fakes.access import FakeAccess
from tests.fakes.clock import NOW, FakeClock

DAY = timedelta(days=1)
SHA256 = "ab" * 32
USED_LONG_ENOUGH = Usage(counted_from=NOW)
OFTEN = ApprovedFile(sha256=SHA256, file_name="setup.exe", approvals=MANY_APPROVALS, users=2)


class FakeUsage(usage_pb2_grpc.UsageServiceServicer):
    """Answer as reporting does, with what the test says."""

    def __init__(self) -> None:
        self.answer = usage_pb2.GetUsageResponse()
        self.asked: asyncio.Queue[usage_pb2.GetUsageRequest] = asyncio.Queue()
        self.away = False

    async def GetUsage(
        self, request: usage_pb2.GetUsageRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> usage_pb2.GetUsageResponse:
        """Tell what rules are used for."""
        self.asked.put_nowait(request)
        if self.away:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "away")
        return self.answer


@asynccontextmanager
async def watched(folder: Path, reporting: FakeUsage, **rhythm: float) -> AsyncIterator[tuple[UsageWatch, FakeClock]]:
    add = partial(usage_pb2_grpc.add_UsageServiceServicer_to_server, reporting)
    parts = ServiceParts(name="reporting", access=FakeAccess().control, mesh=[add])
    clock = FakeClock()
    async with open_doors(folder, parts) as doors, doors.mesh(service_identity("policy")) as channel:
        yield UsageWatch(channel, clock, **rhythm), clock


def answer(**fields: Any) -> usage_pb2.GetUsageResponse:
    made = usage_pb2.GetUsageResponse(**fields)
    made.counted_from.FromDatetime(NOW - UNUSED_AFTER)
    return made


async def test_the_days_of_unused_rules_are_asked_for_and_a_rule_was_used_to_the_end_of_its_last_day(
    tmp_path: Path,
) -> None:
    reporting = FakeUsage()
    rule = usage_pb2.RuleUsage(policy="p", rule="r", attempts=3)
    rule.last_day.FromDatetime(NOW.replace(hour=0) - DAY)
    file = usage_pb2.ApprovedFile(sha256=SHA256, file_name="setup.exe", attempts=MANY_APPROVALS, users=2)
    reporting.answer = answer(rules=[rule], more_rules=True, approved_files=[file])
    async with watched(tmp_path, reporting) as (watch, _):
        assert watch.usage() is None
        assert await watch.look()
        known = watch.usage()
    assert known == Usage(
        counted_from=NOW - UNUSED_AFTER,
        last_used={("p", "r"): NOW.replace(hour=0)},
        more_rules=True,
        approved=(OFTEN,),
    )
    asked = await reporting.asked.get()
    assert asked.occurred_from.ToDatetime() == (NOW - UNUSED_AFTER).replace(tzinfo=None)


async def test_where_nothing_ever_came_in_nothing_is_known(tmp_path: Path) -> None:
    async with watched(tmp_path, FakeUsage()) as (watch, _):
        assert await watch.look()
        assert watch.usage() is None


async def test_what_was_known_counts_for_an_hour_while_reporting_is_away(tmp_path: Path) -> None:
    reporting = FakeUsage()
    reporting.answer = answer()
    async with watched(tmp_path, reporting) as (watch, clock):
        assert await watch.look()
        reporting.away = True
        clock.advance(timedelta(seconds=GOOD_FOR - 1))
        assert not await watch.look()
        assert watch.usage() is not None
        clock.advance(timedelta(seconds=1))
        assert watch.usage() is None
        reporting.away = False
        assert await watch.look()
        assert watch.usage() is not None


async def test_reporting_is_asked_again_and_again_whether_it_answers_or_not(tmp_path: Path) -> None:
    reporting = FakeUsage()
    reporting.away = True
    async with watched(tmp_path, reporting, period=0.0, retry=0.0) as (watch, _):
        asking = asyncio.create_task(watch.run())
        async with asyncio.timeout(20):
            for _ in range(2):
                await reporting.asked.get()
            reporting.away = False
            for _ in range(3):
                await reporting.asked.get()
        asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Linted]:
    """Yield the service 90 days after policies were written, with usage known."""
    async with linted(tmp_path) as made:
        asking = base(default_response=DefaultResponse.SUPPORT_APPROVED, validations=frozenset())
        await made.call("CreateSettingsPolicy", settings_policy=settings_policy_to_proto(asking))
        await make(made, "idle")
        made.clock.advance(UNUSED_AFTER)
        made.usage = Usage(counted_from=NOW, approved=(OFTEN,))
        yield made


async def make(service: Linted, name: str, *tags: str) -> None:
    message = rules_policy_to_proto(tools(name))
    message.metadata.scope_tags.extend(tags)
    await service.call("CreateRulesPolicy", rules_policy=message)


async def test_lint_tells_of_unused_rules_and_of_files_that_are_approved_again_and_again(service: Linted) -> None:
    assert told(await service.found()) == [("L28", "idle", "sound"), ("L28", "base", "")]
    service.usage = None
    assert told(await service.found()) == []


async def test_a_policy_that_was_written_meanwhile_has_not_stood_long_enough(service: Linted) -> None:
    await make(service, "young")
    assert ("L28", "young", "sound") not in told(await service.found())


async def test_a_draft_that_changes_nothing_is_as_old_as_what_is_stored_and_one_that_does_is_new(
    service: Linted,
) -> None:
    same = analysis_pb2.Draft(rules_policies=[rules_policy_to_proto(tools("idle"))])
    assert told(await service.found(draft=same, draft_only=True)) == [("L28", "idle", "sound")]
    other = analysis_pb2.Draft(rules_policies=[rules_policy_to_proto(tools("idle", sound("other")))])
    assert told(await service.found(draft=other, draft_only=True)) == []


async def test_who_does_not_see_every_device_hears_of_rules_alone(service: Linted) -> None:
    await make(service, "theirs", "emea")
    service.clock.advance(UNUSED_AFTER)
    service.hire("emea", {READ}, scope_tags=["emea", "default"])
    of_usage = [each for each in told(await service.found("emea")) if each[0] == "L28"]
    assert of_usage == [("L28", "idle", "sound"), ("L28", "theirs", "sound")]
    service.hire("apac", {READ}, scope_tags=["apac"])
    assert told(await service.found("apac")) == []


async def test_a_save_tells_of_what_it_wrote_and_of_nothing_else(service: Linted) -> None:
    made = await service.call("CreateRulesPolicy", rules_policy=rules_policy_to_proto(tools("new")))
    assert "L28" not in {finding.id for finding in made.findings if finding.name == "new"}
    assert "idle" not in {finding.name for finding in made.findings if finding.id == "L28"}
    asking = base("more", to=("kiosks",), default_response=DefaultResponse.SUPPORT_APPROVED, validations=frozenset())
    saved = await service.call("CreateSettingsPolicy", settings_policy=settings_policy_to_proto(asking))
    assert [finding.name for finding in saved.findings if finding.id == "L28"] == ["more"]


async def test_an_author_sets_it_aside_in_a_rule_and_in_a_settings_policy(service: Linted) -> None:
    kept = (LintIgnore("L28", "for the yearly audit"),)
    message = rules_policy_to_proto(tools("kept", sound(lint=kept)))
    await service.call("CreateRulesPolicy", rules_policy=message)
    asking = base(
        "asks",
        to=("kiosks",),
        default_response=DefaultResponse.SUPPORT_APPROVED,
        validations=frozenset(),
        lint=(LintIgnore("L28", "we like to be asked"),),
    )
    await service.call("CreateSettingsPolicy", settings_policy=settings_policy_to_proto(asking))
    service.clock.advance(UNUSED_AFTER)
    found = {(each.name, each.ignored_because) for each in await service.found(with_ignored=True) if each.id == "L28"}
    assert found >= {("kept", "for the yearly audit"), ("asks", "we like to be asked"), ("idle", ""), ("base", "")}
