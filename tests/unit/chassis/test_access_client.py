"""The access snapshot on its way from rbac into another service."""

import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from epm.access.v1 import access_pb2, access_pb2_grpc
from services._chassis.access import AccessControl
from services._chassis.access_client import snapshot_from_proto, snapshot_to_proto, take, watch, watch_worker
from services._chassis.errors import DeniedError, UnavailableError
from services._chassis.server import ServiceParts
from services._chassis.snapshot import (
    AccessSnapshot,
    AssignmentGrant,
    IssuerTrust,
    PrincipalGroupMembers,
    RoleGrant,
    TokenDigest,
)
from tests.builders.doors import open_doors, service_identity
from tests.fakes.access import FakeAccess
from tests.fakes.clock import NOW, FakeClock

SNAPSHOT = AccessSnapshot(
    revision=7,
    roles=(RoleGrant("reader", frozenset({"audit.read", "roles.read"})),),
    assignments=(
        AssignmentGrant(
            name="a",
            role="reader",
            members=frozenset({"user:x", "group:g"}),
            scope_groups=frozenset({"laptops"}),
            scope_tags=frozenset({"emea", "apac"}),
            expires=NOW + timedelta(days=1, microseconds=5),
        ),
        AssignmentGrant(name="b", role="reader", members=frozenset({"user:y"})),
    ),
    principal_groups=(PrincipalGroupMembers("g", frozenset({"user:z"})),),
    tokens=(
        TokenDigest(token_id="t", digest=b"d" * 32, principal="user:x", expires=NOW),
        TokenDigest(token_id="u", digest=b"e" * 32, principal="user:y"),
    ),
    issuers=(
        IssuerTrust(
            name="corp",
            issuer="https://id.example.com",
            audiences=("epm", "epm-cli"),
            key_set='{"keys": []}',
            principal_claim="email",
            principal_prefix="corp:",
            groups_claim="groups",
            group_mappings={"epm-admins": frozenset({"admins", "readers"})},
        ),
    ),
    scope_tags=frozenset({"default", "emea"}),
)


def heartbeat(revision: int) -> access_pb2.WatchAccessResponse:
    return access_pb2.WatchAccessResponse(heartbeat=access_pb2.Heartbeat(revision=revision))


def whole(revision: int = 7) -> access_pb2.WatchAccessResponse:
    message = snapshot_to_proto(SNAPSHOT)
    message.revision = revision
    return access_pb2.WatchAccessResponse(snapshot=message)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def control(clock: FakeClock) -> AccessControl:
    return AccessControl(clock, bound=timedelta(seconds=60))


def test_a_snapshot_survives_the_way_there_and_back() -> None:
    assert snapshot_from_proto(snapshot_to_proto(SNAPSHOT)) == SNAPSHOT


def test_a_heartbeat_of_the_revision_in_force_confirms_it(control: AccessControl, clock: FakeClock) -> None:
    take(whole(), control)
    clock.advance(timedelta(seconds=60))
    assert not control.fresh()
    take(heartbeat(7), control)
    assert control.fresh()


@pytest.mark.parametrize("message", [heartbeat(6), heartbeat(8), access_pb2.WatchAccessResponse()])
def test_any_other_message_confirms_nothing(
    control: AccessControl, clock: FakeClock, message: access_pb2.WatchAccessResponse
) -> None:
    take(whole(), control)
    clock.advance(timedelta(seconds=60))
    take(message, control)
    assert not control.fresh()


def test_a_heartbeat_before_the_first_snapshot_opens_nothing(control: AccessControl) -> None:
    take(heartbeat(0), control)
    assert not control.fresh()


class Rbac(access_pb2_grpc.AccessServiceServicer):
    """Say what the test wants said, and remember what was asked."""

    def __init__(self) -> None:
        self.says: list[access_pb2.WatchAccessResponse] = []
        self.asked: list[int] = []
        self.failure: Exception | None = None

    async def WatchAccess(
        self, request: access_pb2.WatchAccessRequest, context: Any
    ) -> AsyncIterator[access_pb2.WatchAccessResponse]:
        self.asked.append(request.revision)
        for message in self.says:
            yield message
        if self.failure:
            raise self.failure


@contextlib.asynccontextmanager
async def serving(rbac: Rbac, folder: Path) -> AsyncIterator[grpc.aio.Channel]:
    add = partial(access_pb2_grpc.add_AccessServiceServicer_to_server, rbac)
    parts = ServiceParts(name="rbac", access=FakeAccess().control, mesh=[add])
    async with open_doors(folder, parts) as doors, doors.mesh(service_identity("policy")) as channel:
        yield channel


async def test_a_watch_puts_everything_in_force_and_says_what_it_holds(control: AccessControl, tmp_path: Path) -> None:
    rbac = Rbac()  # type: ignore[abstract]  # what is not overridden answers UNIMPLEMENTED
    rbac.says = [whole(7), whole(8), heartbeat(8)]
    async with serving(rbac, tmp_path) as channel:
        for _ in range(2):
            with pytest.raises(UnavailableError, match="ended the stream"):
                await watch(channel, control)
    assert (control.revision, rbac.asked) == (8, [0, 8])


async def test_a_watch_that_fails_names_the_service(control: AccessControl, tmp_path: Path) -> None:
    rbac = Rbac()  # type: ignore[abstract]  # as above
    rbac.failure = DeniedError("not you")
    async with serving(rbac, tmp_path) as channel:
        with pytest.raises(UnavailableError, match="the rbac service did not answer") as raised:
            await watch_worker(channel, control).run()
    assert raised.value.reason == "PEER_UNAVAILABLE"
