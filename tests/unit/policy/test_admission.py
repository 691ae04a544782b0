"""Whose policy streams are let in, and whose are cut."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import grpc.aio
import pytest

from elevation.document import PolicyDocument
from epm.device.v1 import devices_pb2, lifecycle_pb2
from services._chassis.errors import DeniedError, UnavailableError
from services.policy.clients.directory import DirectoryWatch
from services.policy.model.directory import Directory, DirectoryDevice
from services.policy.usecases.admission import admit, ending
from tests.builders.doors import open_doors
from tests.builders.policy_streams import Stream, World
from tests.fakes.clock import NOW
from tests.fakes.device_directory import entry
from tests.fakes.policy_delivery import device, rules, settings
from tests.unit.policy.test_delivery_directory import told

RENEWING = replace(device(), certificate_serials=frozenset({"a1", "b2"}), unused_certificate_serial="b2")
BANNED = replace(device(enrolled=False), banned=True)


def directory_of(*devices: DirectoryDevice, deleted: tuple[str, ...] = ()) -> Directory:
    return Directory(1, {found.device_id: found for found in devices}, {}, frozenset(deleted))


@pytest.mark.parametrize(("found", "serial"), [(device(), "any"), (device(), ""), (RENEWING, "a1"), (RENEWING, "b2")])
def test_a_device_is_let_in_with_a_certificate_that_counts(found: DirectoryDevice, serial: str) -> None:
    assert admit(directory_of(found), "d1", serial) == found
    assert ending(directory_of(found), "d1", serial) is None


@pytest.mark.parametrize(
    ("directory", "serial", "reason"),
    [
        (directory_of(RENEWING), "c3", "CERTIFICATE_REPLACED"),
        (directory_of(RENEWING), "", "CERTIFICATE_REPLACED"),
        (directory_of(BANNED), "a1", "DEVICE_BANNED"),
        (directory_of(deleted=("d1",)), "a1", "DEVICE_UNKNOWN"),
    ],
    ids=["replaced", "none", "banned", "deleted"],
)
def test_others_are_refused_and_cut_for_the_same_reason(directory: Directory, serial: str, reason: str) -> None:
    with pytest.raises(DeniedError) as refused:
        admit(directory, "d1", serial)
    cut = ending(directory, "d1", serial)
    assert isinstance(cut, DeniedError)
    assert (refused.value.reason, cut.reason) == (reason, reason)


def test_a_retired_device_is_refused_and_its_stream_is_told_farewell_instead_of_being_cut() -> None:
    retired = directory_of(device(enrolled=False))
    with pytest.raises(DeniedError):
        admit(retired, "d1", "a1")
    assert ending(retired, "d1", "a1") is None


def test_a_device_that_the_directory_lost_is_asked_to_come_back_and_its_stream_ends() -> None:
    with pytest.raises(UnavailableError):
        admit(directory_of(), "d1", "a1")
    assert isinstance(ending(directory_of(), "d1", "a1"), UnavailableError)


@pytest.fixture
async def watch() -> AsyncIterator[DirectoryWatch]:
    async with grpc.aio.insecure_channel("127.0.0.1:1") as channel:
        yield DirectoryWatch(channel)


def with_serials(*serials: str, unused: str = "") -> lifecycle_pb2.DirectoryDevice:
    shown = entry("d1")
    shown.certificate_serials.extend(serials)
    shown.unused_certificate_serial = unused
    return shown


def tombstone(device_id: str = "d1") -> lifecycle_pb2.DirectoryDevice:
    return lifecycle_pb2.DirectoryDevice(device_id=device_id, deleted=True)


async def test_a_certificate_that_was_only_just_signed_is_waited_for(watch: DirectoryWatch) -> None:
    watch.take(told(with_serials("a1"), reset=True))
    asked = asyncio.create_task(watch.admitted("d1", "b2"))
    await asyncio.sleep(0)
    watch.take(told(with_serials("a1", "b2", unused="b2"), revision=2))
    assert (await asked).unused_certificate_serial == "b2"


async def test_what_is_settled_is_not_waited_for(watch: DirectoryWatch) -> None:
    retired = entry("d2", enrolled=False)
    retired.certificate_serials.append("a1")
    watch.take(told(retired, tombstone(), reset=True))
    for device_id in ("d1", "d2"):
        with pytest.raises(DeniedError):
            async with asyncio.timeout(1):
                await watch.admitted(device_id, "b2")


async def test_a_certificate_that_never_counts_is_refused_after_a_while() -> None:
    async with grpc.aio.insecure_channel("127.0.0.1:1") as channel:
        watch = DirectoryWatch(channel, patience=0.01)
        watch.take(told(with_serials("a1"), reset=True))
        with pytest.raises(DeniedError) as refused:
            await watch.admitted("d1", "b2")
    assert refused.value.reason == "CERTIFICATE_REPLACED"


async def test_a_certificate_that_is_not_known_while_the_device_service_is_away_may_come_back() -> None:
    async with grpc.aio.insecure_channel("127.0.0.1:1") as channel:
        watch = DirectoryWatch(channel, patience=0.01)
        watch.take(told(with_serials("a1"), reset=True))
        with pytest.raises(UnavailableError):
            await watch.run()
        with pytest.raises(UnavailableError) as refused:
            await watch.admitted("d1", "b2")
        assert refused.value.reason == "DIRECTORY_BEHIND"
        assert (await watch.admitted("d1", "a1")).name == "D1"


async def test_a_tombstone_takes_a_device_away_and_is_remembered(watch: DirectoryWatch) -> None:
    watch.take(told(entry("d1"), entry("d2"), reset=True))
    watch.take(told(tombstone(), revision=2))
    assert watch.directory().devices.keys() == {"d2"}
    watch.take(told(entry("d3"), revision=3))
    assert watch.directory().deleted == {"d1"}


async def test_those_whose_enrolment_certificates_or_platform_changed_are_told_of_before_everything_else(
    watch: DirectoryWatch,
) -> None:
    heard: list[tuple[str, object]] = []
    watch.on_identity.append(lambda devices: heard.append(("identity", sorted(devices))))
    watch.on_change.append(lambda devices: heard.append(("change", devices and sorted(devices))))
    watch.take(told(with_serials("a1"), entry("d2"), reset=True))
    watch.take(told(with_serials("a1", "b2", unused="b2"), revision=2))
    watch.take(told(with_serials("b2"), revision=3))
    tagged = with_serials("b2")
    tagged.tags.append("new")
    watch.take(told(tagged, revision=4))
    banned = with_serials("b2")
    banned.enrolment_state = devices_pb2.ENROLMENT_STATE_BANNED
    watch.take(told(banned, revision=5))
    banned.os = "linux"
    watch.take(told(banned, revision=6))
    watch.take(told(tombstone(), revision=7))
    identity, change = ("identity", ["d1"]), ("change", ["d1"])
    first = [("identity", ["d1", "d2"]), ("change", None)]
    assert heard == [*first, *(identity, change) * 2, change, *(identity, change) * 3]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World()
    async with open_doors(tmp_path, made.parts()) as made.doors:
        yield made


@pytest.mark.parametrize(
    "found",
    [BANNED, replace(device(), certificate_serials=frozenset({"another"}))],
    ids=["banned", "replaced"],
)
async def test_a_stream_that_would_not_be_let_in_any_more_is_cut(world: World, found: DirectoryDevice) -> None:
    async with world.stream() as stream:
        await stream.hello()
        await stream.offer()
        world.directories.put(found)
        world.streams.judge(partial(ending, world.directories.directory()), ["d1", "d2"])
        assert (await stream.failure())[0] == "PERMISSION_DENIED"


async def test_a_stream_that_goes_on_is_not_touched(world: World) -> None:
    async with world.stream() as stream:
        await stream.hello()
        world.streams.judge(partial(ending, world.directories.directory()), ["d1"])
        await stream.apply()


async def applied(stream: Stream) -> PolicyDocument:
    """Take the next offer, acknowledge it, and return its document."""
    offer, manifest, document = await stream.offer()
    await stream.acknowledge(offer, manifest.revision)
    return document


async def test_a_device_in_quarantine_stays_connected_and_loses_settings_and_rules_until_it_is_over(
    world: World,
) -> None:
    world.publish(settings(), rules())
    plain = world.directories.directory().devices["d1"]
    async with world.stream() as stream:
        await stream.hello()
        before = await applied(stream)
        world.directories.put(replace(plain, quarantined=True))
        world.streams.wake(["d1"])
        during = await applied(stream)
        world.directories.put(plain)
        world.streams.wake(["d1"])
        after = await applied(stream)
    assert before.any_user.settings is not None
    assert (during.any_user.settings, during.users, during.rules_policies) == (None, (), ())
    assert during.deprovision_time == NOW + timedelta(days=7)
    assert (after.any_user, after.rules_policies) == (before.any_user, before.rules_policies)
    assert after.deprovision_time is None
