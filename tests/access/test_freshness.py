"""How soon a change of access counts in every service, and how long the services go on without the rbac service."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from epm.access.v1 import queries_pb2, queries_pb2_grpc
from epm.device.v1 import devices_pb2, devices_pb2_grpc
from epm.policy.v1 import policies_pb2, policies_pb2_grpc
from epm.rbac.v1 import rbac_pb2, rbac_pb2_grpc
from epm.reporting.v1 import reports_pb2, reports_pb2_grpc
from services._chassis import pki
from services._chassis.config import CertificateFiles
from services.rbac.__main__ import build as build_rbac
from services.reporting.__main__ import build as build_reporting
from tests.builders.doors import bearer, open_doors, service_identity, settings_for
from tests.builders.refusals import refusal_of
from tests.builders.whole import Metadata, Whole, whole
from tests.fakes.clock import FakeClock

PROMISED = 2.0
"""Seconds within which a change counts everywhere."""
READING = ("policy_authoring.read", "policy_authoring.view_reports", "devices.read", "roles.read")
OUTER = rbac_pb2.PrincipalGroup(name="outer", members=["group:inner"])


def calls(channel: grpc.aio.Channel, who: Metadata) -> list[Awaitable[Any]]:
    """Ask each of the four services for something that takes a right."""
    metadata: Any = who
    return [
        policies_pb2_grpc.PolicyServiceStub(channel).ListSettingsPolicies(
            policies_pb2.ListSettingsPoliciesRequest(), metadata=metadata
        ),
        reports_pb2_grpc.ReportingServiceStub(channel).ListElevations(
            reports_pb2.ListElevationsRequest(), metadata=metadata
        ),
        devices_pb2_grpc.DeviceServiceStub(channel).ListDevices(devices_pb2.ListDevicesRequest(), metadata=metadata),
        rbac_pb2_grpc.RbacServiceStub(channel).ListRoles(rbac_pb2.ListRolesRequest(), metadata=metadata),
    ]


async def hire_in_a_nested_group(house: Whole) -> Metadata:
    """Let ann read everything because she is in a group of a group."""
    request = rbac_pb2.ApplyAccessRequest(
        roles=[rbac_pb2.Role(name="reading", rights=READING)],
        principal_groups=[OUTER, rbac_pb2.PrincipalGroup(name="inner", members=["user:ann"])],
        role_assignments=[rbac_pb2.RoleAssignment(name="readers", role="reading", members=["group:outer"])],
    )
    await house.rbac.ApplyAccess(request, metadata=house.owner)
    return await house.token("ann")


async def delete_the_assignment(house: Whole) -> None:
    request = rbac_pb2.DeleteRoleAssignmentRequest(name="readers")
    await house.rbac.DeleteRoleAssignment(request, metadata=house.owner)


async def apply(house: Whole, **objects: Any) -> None:
    await house.rbac.ApplyAccess(rbac_pb2.ApplyAccessRequest(**objects), metadata=house.owner)


async def leave_the_inner_group(house: Whole) -> None:
    await apply(house, principal_groups=[rbac_pb2.PrincipalGroup(name="inner")])


async def take_the_inner_group_out(house: Whole) -> None:
    await apply(house, principal_groups=[rbac_pb2.PrincipalGroup(name="outer")])


async def narrow_the_role(house: Whole) -> None:
    await apply(house, roles=[rbac_pb2.Role(name="reading", rights=["audit.read"])])


async def revoke_the_token(house: Whole) -> None:
    tokens = await house.rbac.ListTokens(rbac_pb2.ListTokensRequest(), metadata=house.owner)
    (token_id,) = (token.token_id for token in tokens.tokens if token.principal == "user:ann")
    await house.rbac.RevokeToken(rbac_pb2.RevokeTokenRequest(token_id=token_id), metadata=house.owner)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (delete_the_assignment, "PERMISSION_DENIED"),
        (leave_the_inner_group, "PERMISSION_DENIED"),
        (take_the_inner_group_out, "PERMISSION_DENIED"),
        (narrow_the_role, "PERMISSION_DENIED"),
        (revoke_the_token, "UNAUTHENTICATED"),
    ],
)
async def test_what_is_taken_away_is_refused_by_every_service_within_two_seconds(
    tmp_path: Path, change: Callable[[Whole], Awaitable[None]], code: str
) -> None:
    async with whole(tmp_path) as house:
        ann = await hire_in_a_nested_group(house)
        await house.settled()
        await asyncio.gather(*calls(house.public, ann))
        async with asyncio.timeout(PROMISED):
            await change(house)
            await house.settled()
        for call in calls(house.public, ann):
            assert (await refusal_of(call)).code == code


async def test_services_go_on_without_rbac_for_their_bound_and_then_refuse(tmp_path: Path) -> None:
    clock = FakeClock()
    async with AsyncExitStack() as rbac_runs:
        rbac = await rbac_runs.enter_async_context(
            open_doors(tmp_path / "rbac", await build_rbac(settings_for(tmp_path / "rbac")))
        )
        owner = bearer((tmp_path / "rbac" / "owner-token").read_text().strip())
        folder = tmp_path / "reporting"
        pki.write_issued(service_identity("reporting"), folder / "own", "reporting")
        values: dict[str, Any] = {
            "rbac_address": rbac.settings.mesh_address,
            "device_address": rbac.settings.mesh_address,
            "service_certificate": CertificateFiles(folder / "own" / "reporting.crt", folder / "own" / "reporting.key"),
            "access_bound": timedelta(seconds=60),
        }
        parts = await build_reporting(settings_for(folder, **values), clock)
        heard = asyncio.Event()
        parts.access.on_change.append(heard.set)
        async with open_doors(folder, parts, clock=clock, **values) as doors, doors.public() as channel:
            reports = reports_pb2_grpc.ReportingServiceStub(channel)
            await heard.wait()
            await rbac_runs.aclose()
            for passing in (timedelta(), timedelta(seconds=59)):
                clock.advance(passing)
                await reports.ListElevations(reports_pb2.ListElevationsRequest(), metadata=owner)
            clock.advance(timedelta(seconds=1))
            refusal = await refusal_of(reports.ListElevations(reports_pb2.ListElevationsRequest(), metadata=owner))
            assert (refusal.code, refusal.reason) == ("UNAVAILABLE", "ACCESS_SNAPSHOT_STALE")


async def test_who_is_answered_by_a_revision_sees_a_change_that_another_has_just_made(tmp_path: Path) -> None:
    async with whole(tmp_path) as house:
        changed = rbac_pb2.RoleAssignment(name="aud", role="Auditor", members=["user:aud"])
        request = rbac_pb2.ApplyAccessRequest(role_assignments=[changed])
        applied = await house.rbac.ApplyAccess(request, metadata=house.owner)
        asked = queries_pb2.CheckRequest(
            question=queries_pb2.AccessQuestion(principal="user:aud", right="audit.read"),
            at_least_revision=applied.revision,
        )
        stub = queries_pb2_grpc.AccessQueryServiceStub(house.public)
        assert (await stub.Check(asked, metadata=house.owner)).allowed
