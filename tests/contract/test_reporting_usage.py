"""What reporting tells the policy service of rules and approvals: the same on SQLite and PostgreSQL."""

from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from epm.elevation.v1 import event_pb2
from epm.reporting.v1 import usage_pb2, usage_pb2_grpc
from services._chassis.db import Database
from services._chassis.server import ServiceParts
from services.reporting.model.rollups import DAY
from services.reporting.model.usage import ApprovedFile, RuleUsage
from services.reporting.store.tables import KNOWN_RULE
from services.reporting.store.usage import SqlUsage
from services.reporting.usage_servicer import UsageServicer
from tests.builders.counts import MIDNIGHT
from tests.builders.doors import device_identity, open_doors, service_identity
from tests.builders.refusals import refusal_of
from tests.builders.reporting_database import reporting_database
from tests.builders.sinks import DurableSink
from tests.fakes.access import FakeAccess
from tests.fakes.reporting import SHA256, batch, decided, unmanaged

ONE_DAY = timedelta(days=1)
FIRST = int(MIDNIGHT.timestamp()) * 1_000_000 // DAY


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with reporting_database(database_url) as opened:
        yield opened


@pytest.fixture
def usage(database: Database) -> SqlUsage:
    return SqlUsage(database)


def on(day: int, number: int, **values: Any) -> event_pb2.ElevationEvent:
    return decided(number, at=MIDNIGHT + day * ONE_DAY + timedelta(hours=23), **values)


def approved(number: int, **values: Any) -> event_pb2.ElevationEvent:
    return on(0, number, source=event_pb2.SOURCE_GRANT, **values)


async def test_rules_that_decided_are_told_with_the_last_day_those_that_decided_most_first(
    usage: SqlUsage, sink: DurableSink
) -> None:
    told = [on(0, 1), on(3, 2), on(1, 3), on(9, 4, rule="rare"), on(2, 5, policy="other"), on(5, 6, policy="other")]
    untold = [unmanaged(7, at=MIDNIGHT), on(4, 8, source=event_pb2.SOURCE_DEFAULT_RESPONSE, policy="", rule="")]
    await sink.store([batch([*told, *untold])])
    found = await usage.usage(FIRST)
    assert found.rules == (
        RuleUsage("tools", "setup", 3, FIRST + 3),
        RuleUsage("other", "setup", 2, FIRST + 5),
        RuleUsage("tools", "rare", 1, FIRST + 9),
    )
    assert (found.counted_from, found.more_rules, found.approved_files) == (FIRST, False, ())
    later = await usage.usage(FIRST + 4)
    assert [(each.policy, each.rule) for each in later.rules] == [("other", "setup"), ("tools", "rare")]


async def test_rules_that_are_left_out_are_told_of(database: Database, sink: DurableSink) -> None:
    await sink.store([batch([on(0, 1), on(0, 2), on(0, 3, rule="b")])])
    assert [each.rule for each in (await SqlUsage(database, most_rules=1).usage(FIRST)).rules] == ["setup"]
    assert (await SqlUsage(database, most_rules=1).usage(FIRST)).more_rules
    assert not (await SqlUsage(database, most_rules=2).usage(FIRST)).more_rules


async def test_it_is_told_from_which_day_on_everything_is_counted(usage: SqlUsage, sink: DurableSink) -> None:
    assert (await usage.usage(FIRST)).counted_from is None
    await sink.store([batch([on(5, 1)])])
    assert (await usage.usage(FIRST)).counted_from == FIRST + 5
    assert (await usage.usage(FIRST + 8)).counted_from == FIRST + 8


async def test_days_of_which_it_is_not_known_which_rules_decided_are_not_counted(
    usage: SqlUsage, sink: DurableSink, database: Database
) -> None:
    await sink.store([batch([on(0, 1, rule="old"), on(2, 2, rule="old"), on(5, 3, rule="new")])])
    async with database.transaction() as tx:  # as the migration to counts by rule left it
        await tx.execute(sa.update(KNOWN_RULE).where(KNOWN_RULE.c.rule == "old").values(rule="", policy=""))
    found = await usage.usage(FIRST)
    assert found.counted_from == FIRST + 3
    assert [each.rule for each in found.rules] == ["new"]


async def test_files_are_told_that_were_approved_more_than_once_with_their_users(
    usage: SqlUsage, sink: DurableSink, database: Database
) -> None:
    other = {"path": "C:\\other.exe", "sha256": "cd" * 32}
    events = [
        *(approved(number, user=user) for number, user in enumerate(("alice", "bob", "alice"), start=1)),
        *(approved(number, file=other) for number in (4, 5)),
        approved(6, file={"path": "C:\\once.exe", "sha256": "ef" * 32}),
        approved(7, result=event_pb2.ATTEMPT_RESULT_DENIED),
        on(0, 8, user="carol"),
        *(approved(number, file={"sha256": ""}) for number in (9, 10)),
    ]
    await sink.store([batch(events)])
    expected = (ApprovedFile(SHA256, "setup.exe", 3, 2), ApprovedFile("cd" * 32, "other.exe", 2, 1))
    assert (await usage.usage(FIRST)).approved_files == expected
    assert (await SqlUsage(database, most_files=1).usage(FIRST)).approved_files == expected[:1]
    assert (await usage.usage(FIRST + 1)).approved_files == ()


@pytest.fixture
async def door(database: Database, tmp_path: Path) -> AsyncIterator[Any]:
    """Yield what opens a stub of the mesh door for an identity."""
    add = partial(usage_pb2_grpc.add_UsageServiceServicer_to_server, UsageServicer(SqlUsage(database)))
    parts = ServiceParts(name="reporting", access=FakeAccess().control, mesh=[add])
    async with open_doors(tmp_path, parts) as doors:
        yield doors


def asking(day: int = 0) -> usage_pb2.GetUsageRequest:
    request = usage_pb2.GetUsageRequest()
    request.occurred_from.FromDatetime(MIDNIGHT + day * ONE_DAY + timedelta(hours=7))
    return request


async def test_the_policy_service_is_told_from_the_whole_day_of_the_time_on(door: Any, sink: DurableSink) -> None:
    await sink.store([batch([on(0, 1), *(approved(number) for number in (2, 3))])])
    async with door.mesh(service_identity("policy")) as channel:
        found = await usage_pb2_grpc.UsageServiceStub(channel).GetUsage(asking())
        assert not (await usage_pb2_grpc.UsageServiceStub(channel).GetUsage(asking(1))).rules
    assert found.counted_from.ToDatetime() == MIDNIGHT.replace(tzinfo=None)
    (rule,) = found.rules
    assert (rule.policy, rule.rule, rule.attempts) == ("tools", "setup", 3)
    assert rule.last_day.ToDatetime() == MIDNIGHT.replace(tzinfo=None)
    (file,) = found.approved_files
    assert (file.sha256, file.file_name, file.attempts, file.users) == (SHA256, "setup.exe", 2, 1)


async def test_nothing_that_came_in_is_no_day(door: Any) -> None:
    async with door.mesh(service_identity("policy")) as channel:
        found = await usage_pb2_grpc.UsageServiceStub(channel).GetUsage(asking())
    assert not found.HasField("counted_from")


async def test_a_time_is_asked_for_that_a_calendar_has(door: Any) -> None:
    wrong = usage_pb2.GetUsageRequest()
    wrong.occurred_from.seconds = 2**60
    async with door.mesh(service_identity("policy")) as channel:
        for request in (usage_pb2.GetUsageRequest(), wrong):
            refusal = await refusal_of(usage_pb2_grpc.UsageServiceStub(channel).GetUsage(request))
            assert (refusal.code, refusal.fields) == ("INVALID_ARGUMENT", {"occurred_from"})


@pytest.mark.parametrize(
    "identity", [service_identity("device"), device_identity("d1")], ids=["device service", "device"]
)
async def test_nobody_else_is_told(door: Any, identity: Any) -> None:
    async with door.mesh(identity) as channel:
        refusal = await refusal_of(usage_pb2_grpc.UsageServiceStub(channel).GetUsage(asking()))
    assert refusal.code == "PERMISSION_DENIED"
