"""How the other services hear who may do what, and how soon."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from epm.access.v1 import access_pb2, access_pb2_grpc
from epm.rbac.v1 import rbac_pb2, rbac_pb2_grpc
from services._chassis import pki
from services._chassis.access import AccessControl
from services._chassis.access_client import snapshot_from_proto, watch
from services._chassis.auth import digest_of
from services._chassis.changes import ChangeFeed
from services._chassis.client import open_channel
from services._chassis.config import CertificateFiles
from services._chassis.errors import UnavailableError
from services.rbac.__main__ import build
from services.rbac.model.nouns import ScopeTag
from services.rbac.workers import AccessPublisher
from tests.builders.doors import OpenDoors, bearer, device_identity, open_doors, service_identity, settings_for
from tests.builders.migrated import put_databases
from tests.builders.rbac import store_with
from tests.builders.refusals import refusal_of
from tests.fakes.clock import FakeClock
from tests.fakes.rbac import MemoryStore

SOON = timedelta(milliseconds=20)


@pytest.fixture
async def doors(tmp_path: Path) -> AsyncIterator[OpenDoors]:
    put_databases(tmp_path)
    parts = await build(settings_for(tmp_path, access_heartbeat=SOON))
    async with open_doors(tmp_path, parts) as opened:
        yield opened


@asynccontextmanager
async def watching(doors: OpenDoors, identity: pki.Issued, *, revision: int = 0) -> AsyncIterator[Any]:
    async with doors.mesh(identity) as channel:
        stub = access_pb2_grpc.AccessServiceStub(channel)
        yield aiter(stub.WatchAccess(access_pb2.WatchAccessRequest(revision=revision)))


async def apply(doors: OpenDoors, *tags: str) -> int:
    token = (doors.settings.data_dir / "owner-token").read_text().strip()
    request = rbac_pb2.ApplyAccessRequest(scope_tags=[rbac_pb2.ScopeTag(name=tag) for tag in tags])
    async with doors.public() as channel:
        answer = await rbac_pb2_grpc.RbacServiceStub(channel).ApplyAccess(request, metadata=bearer(token))
    return int(answer.revision)


@pytest.mark.parametrize("service", ["policy", "device", "reporting"])
async def test_a_watch_begins_with_everything(doors: OpenDoors, service: str) -> None:
    async with watching(doors, service_identity(service)) as stream:
        snapshot = snapshot_from_proto((await anext(stream)).snapshot)
    token = (doors.settings.data_dir / "owner-token").read_text().strip()
    assert snapshot.revision == 1
    assert len(snapshot.roles) == 9
    assert snapshot.scope_tags == {"default"}
    assert [(each.name, each.role, each.members) for each in snapshot.assignments] == [
        ("owner", "Owner", frozenset({"user:owner"}))
    ]
    assert [(each.principal, each.digest) for each in snapshot.tokens] == [("user:owner", digest_of(token))]


async def test_services_hear_a_snapshot_that_is_larger_than_any_other_message(doors: OpenDoors) -> None:
    settings = doors.settings
    folder = settings.data_dir / "certs"
    pki.write_issued(service_identity("policy"), folder, "policy")
    identity = CertificateFiles(folder / "policy.crt", folder / "policy.key")
    token = (settings.data_dir / "owner-token").read_text().strip()
    async with doors.public() as channel:
        for name in "abcd":
            members = [f"user:{name * 110}-{number}" for number in range(10_000)]
            group = rbac_pb2.PrincipalGroup(name=name, members=members)
            request = rbac_pb2.ApplyAccessRequest(principal_groups=[group])
            await rbac_pb2_grpc.RbacServiceStub(channel).ApplyAccess(request, metadata=bearer(token))
    control, heard = AccessControl(FakeClock()), asyncio.Event()
    control.on_change.append(heard.set)
    async with open_channel(settings.mesh_address, ca=settings.ca, identity=identity) as services:
        tasks = {asyncio.create_task(watch(services, control)), asyncio.create_task(heard.wait())}
        _, going_on = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in going_on:
            task.cancel()
    assert control.revision == 5


async def test_every_change_follows_whole(doors: OpenDoors) -> None:
    async with watching(doors, service_identity("policy")) as stream:
        await anext(stream)
        revision = await apply(doors, "emea")
        while not (message := await anext(stream)).HasField("snapshot"):
            assert message.heartbeat.revision == 1
        assert message.snapshot.revision == revision == 2


async def test_while_nothing_changes_heartbeats_confirm_the_revision(doors: OpenDoors) -> None:
    async with watching(doors, service_identity("policy")) as stream:
        await anext(stream)
        assert [(await anext(stream)).heartbeat.revision for _ in range(2)] == [1, 1]


async def test_who_holds_the_newest_already_gets_a_heartbeat_in_its_place(doors: OpenDoors) -> None:
    async with watching(doors, service_identity("policy"), revision=1) as stream:
        assert (await anext(stream)).heartbeat.revision == 1


async def test_a_revoked_token_leaves_the_snapshot(doors: OpenDoors) -> None:
    token = (doors.settings.data_dir / "owner-token").read_text().strip()
    async with doors.public() as channel:
        stub = rbac_pb2_grpc.RbacServiceStub(channel)
        issued = await stub.IssueToken(rbac_pb2.IssueTokenRequest(principal="user:bob"), metadata=bearer(token))
        await stub.RevokeToken(rbac_pb2.RevokeTokenRequest(token_id=issued.token.token_id), metadata=bearer(token))
    async with watching(doors, service_identity("policy")) as stream:
        assert [each.principal for each in (await anext(stream)).snapshot.tokens] == ["user:owner"]


@pytest.mark.parametrize("name", ["rbac", "gateway", "device/d1"])
async def test_nobody_else_may_watch(doors: OpenDoors, name: str) -> None:
    identity = device_identity("d1") if "/" in name else service_identity(name)
    async with watching(doors, identity) as stream:
        refusal = await refusal_of(anext(stream))
    assert (refusal.code, refusal.reason) == ("PERMISSION_DENIED", "CALLER_NOT_ALLOWED")


async def test_the_public_door_knows_no_watch(doors: OpenDoors) -> None:
    async with doors.public() as channel:
        stub = access_pb2_grpc.AccessServiceStub(channel)
        stream = aiter(stub.WatchAccess(access_pb2.WatchAccessRequest()))
        assert (await refusal_of(anext(stream))).code == "UNIMPLEMENTED"


async def test_a_server_that_drains_ends_the_watch(tmp_path: Path) -> None:
    parts = await build(settings_for(tmp_path))
    grace = timedelta(seconds=30)
    async with (
        open_doors(tmp_path, parts, drain_grace=grace) as doors,
        watching(doors, service_identity("policy")) as stream,
    ):
        await anext(stream)
        await doors.host.stop()
        with pytest.raises(StopAsyncIteration):
            await anext(stream)


class Publishing:
    """A publisher on a store in memory, at a time that stands still."""

    def __init__(self) -> None:
        self.store = store_with()
        self.clock = FakeClock()
        self.control = AccessControl(self.clock, bound=timedelta(seconds=60))
        self.publisher = AccessPublisher(self.store, self._feed(), self.control, heartbeat=SOON)

    def _feed(self) -> ChangeFeed:
        async def revision() -> int:
            return self.store.kept_revision

        return ChangeFeed(revision, None, "")

    async def change(self, tag: str) -> None:
        async with self.store.writing() as work:
            await work.put(ScopeTag(tag))


async def test_a_database_that_answers_confirms_the_snapshot() -> None:
    here = Publishing()
    await here.publisher.publish()
    here.clock.advance(timedelta(seconds=59))
    await here.publisher.publish()
    here.clock.advance(timedelta(seconds=59))
    assert here.control.fresh()
    here.clock.advance(timedelta(seconds=1))
    assert not here.control.fresh()


async def test_nobody_is_told_that_a_stale_snapshot_is_fresh() -> None:
    here = Publishing()
    await here.publisher.publish()
    follower = here.publisher.follow(1)
    assert await anext(follower) == 1
    here.clock.advance(timedelta(seconds=60))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(5 * SOON.total_seconds()):
            await anext(follower)


async def test_who_changes_access_waits_until_the_checks_here_know_of_it() -> None:
    here = Publishing()
    waiting = asyncio.create_task(here.publisher.reached(2))
    await here.publisher.publish()
    assert not waiting.done()
    await here.change("emea")
    await here.publisher.publish()
    await waiting
    assert here.control.revision == 2


class BrokenStore(MemoryStore):
    def reading(self) -> Any:
        raise UnavailableError("the database does not answer")


async def test_a_database_that_does_not_answer_confirms_nothing() -> None:
    here = Publishing()
    await here.publisher.publish()
    here.clock.advance(timedelta(seconds=60))
    broken = AccessPublisher(BrokenStore(), here._feed(), here.control, heartbeat=SOON)
    with pytest.raises(UnavailableError):
        await broken.publish()
    assert not here.control.fresh()
