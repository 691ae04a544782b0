"""The groups that policies are assigned to, on their way to the device service."""

import asyncio
from dataclasses import replace
from pathlib import Path

import grpc.aio
import pytest

from epm.device.v1 import lifecycle_pb2
from services._chassis.errors import UnavailableError
from services.policy.clients.directory import LARGEST_FILTERS, UsedGroupsReports
from services.policy.model.used_groups import UsedGroups, used_groups
from services.policy.reporters import UsedGroupsReporter
from tests.builders.doors import open_doors, service_identity, settings_for
from tests.fakes.device_directory import FakeDeviceService
from tests.fakes.policy_delivery import (
    Authored,
    FakeDirectories,
    assigned,
    corpus,
    device,
    policy_book,
    rules,
    settings,
)

LINUX, FINANCE = 'os = "linux"', 'tag = "finance"'


class FakeUsedGroupsReceiver:
    """Hear which groups are used."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[UsedGroups] = asyncio.Queue()
        self.failure: UnavailableError | None = None
        self.newest = 0

    async def report(self, used: UsedGroups) -> int:
        if self.failure:
            raise self.failure
        self.heard.put_nowait(used)
        return self.newest


class Office:
    """A reporter at work."""

    def __init__(self) -> None:
        self.directories = FakeDirectories(device("d1"))
        self.book = policy_book(self.directories)
        self.receiver = FakeUsedGroupsReceiver()
        self.reporter = UsedGroupsReporter(self.book, self.receiver)

    def publish(self, *policies: Authored, revision: int = 1) -> None:
        self.book.put(corpus(*policies, revision=revision))
        self.reporter.wake()

    async def heard(self) -> UsedGroups:
        async with asyncio.timeout(10):
            return await self.receiver.heard.get()


def test_groups_are_used_that_any_assignment_names_each_with_its_filters() -> None:
    found = used_groups(
        corpus(
            settings("off", "kiosks", enabled=False),
            rules("one", assignments=assigned("laptops", "all-users", exclude=["finance"], where=LINUX)),
            rules("two", assignments=assigned("laptops", where=FINANCE)),
            rules("three", assignments=assigned("laptops", where=LINUX)),
            rules("nobody's", assignments=assigned()),
            revision=9,
        )
    )
    assert found == UsedGroups(9, {"all-users": (LINUX,), "finance": (), "kiosks": (), "laptops": (LINUX, FINANCE)})
    assert list(found.filters) == sorted(found.filters)


def test_nothing_is_used_where_nothing_is_authored() -> None:
    assert used_groups(corpus(revision=3)) == UsedGroups(3)


async def test_every_change_is_told_also_one_that_leaves_the_groups_alone() -> None:
    office = Office()
    task = asyncio.create_task(office.reporter.run())
    for revision, group in ((1, "a"), (2, "b"), (3, "b")):
        office.publish(settings("s", group), revision=revision)
        assert await office.heard() == UsedGroups(revision, {group: ()})
    task.cancel()


async def test_nothing_is_told_before_policies_were_read_and_a_directory_was_heard() -> None:
    office = Office()
    office.directories.known = None
    task = asyncio.create_task(office.reporter.run())
    office.publish(settings("s", "a"))
    await asyncio.wait([task], timeout=0.01)
    assert office.receiver.heard.empty()
    office.directories.known = FakeDirectories().directory()
    office.reporter.wake()
    assert await office.heard() == UsedGroups(1, {"a": ()})
    task.cancel()


async def test_what_was_not_heard_is_told_when_the_worker_begins_anew() -> None:
    office = Office()
    office.publish(settings("s", "a"))
    office.receiver.failure = UnavailableError("the device service is away")
    with pytest.raises(UnavailableError):
        await office.reporter.run()
    office.receiver.failure = None
    task = asyncio.create_task(office.reporter.run())
    assert await office.heard() == UsedGroups(1, {"a": ()})
    task.cancel()


@pytest.mark.parametrize(("length", "told"), [(LARGEST_FILTERS, True), (LARGEST_FILTERS + 1, False)])
async def test_filters_that_no_message_can_hold_may_ask_for_anything(
    tmp_path: Path, length: int, *, told: bool
) -> None:
    service = FakeDeviceService()
    used = UsedGroups(4, {"all-devices": ("é" * length,), "kiosks": ()})
    async with (
        open_doors(tmp_path, await service.build(settings_for(tmp_path))) as doors,
        doors.mesh(service_identity("policy")) as channel,
    ):
        await UsedGroupsReports(channel).report(used)
    assert service.used == lifecycle_pb2.ReportUsedGroupsRequest(
        groups=[
            lifecycle_pb2.UsedGroup(
                name="all-devices", filters=used.filters["all-devices"] if told else (), any_filter=not told
            ),
            lifecycle_pb2.UsedGroup(name="kiosks"),
        ],
        revision=4,
    )


async def test_a_device_service_that_is_away_is_unavailable() -> None:
    async with grpc.aio.insecure_channel("127.0.0.1:1") as channel:
        with pytest.raises(UnavailableError):
            await UsedGroupsReports(channel).report(UsedGroups())


async def test_groups_that_were_passed_over_are_told_again_once_the_revision_is_above_what_was_seen() -> None:
    office = Office()
    office.receiver.newest = 7

    async def catch_up(seen: int) -> None:
        office.publish(settings("s", "a"), revision=seen + 1)

    office.reporter = UsedGroupsReporter(office.book, office.receiver, catch_up=catch_up)
    office.publish(settings("s", "a"))
    task = asyncio.create_task(office.reporter.run())
    assert [(await office.heard()).revision for _ in range(2)] == [1, 8]
    await asyncio.wait([task], timeout=0.01)
    assert office.receiver.heard.empty()
    task.cancel()


async def test_a_restored_database_is_told_under_the_newer_revision_though_nothing_else_is_authored() -> None:
    office = Office()
    office.receiver.newest = 7

    async def catch_up(seen: int) -> None:
        office.book.put(replace(corpus(settings("s", "a")), revision=seen + 1))
        office.reporter.wake()

    office.reporter = UsedGroupsReporter(office.book, office.receiver, catch_up=catch_up)
    office.publish(settings("s", "a"))
    task = asyncio.create_task(office.reporter.run())
    assert [(await office.heard()).revision for _ in range(2)] == [1, 8]
    await asyncio.wait([task], timeout=0.01)
    assert office.receiver.heard.empty()
    task.cancel()


async def test_a_revision_under_which_nothing_is_authored_is_no_reason_to_tell() -> None:
    office = Office()
    office.publish(settings("s", "a"))
    task = asyncio.create_task(office.reporter.run())
    assert (await office.heard()).revision == 1
    office.book.put(replace(corpus(settings("s", "a")), revision=2))
    office.reporter.wake()
    await asyncio.wait([task], timeout=0.01)
    assert office.receiver.heard.empty()
    office.reporter.forget()
    assert await office.heard() == UsedGroups(2, {"a": ()})
    task.cancel()
