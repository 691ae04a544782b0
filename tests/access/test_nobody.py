"""A principal with no role sees nothing, not even that a thing exists; and View Reports alone opens reports."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import grpc.aio
import pytest
from google.protobuf.message import Message

from epm.access.v1 import options_pb2, queries_pb2
from epm.device.v1 import groups_pb2
from epm.policy.v1 import policies_pb2
from epm.rbac.v1 import rbac_pb2
from tests.access.test_scope import status_of
from tests.builders.kinds import KINDS
from tests.builders.rpcs import empty, for_callers, path_of, rule_of
from tests.builders.whole import Whole, answer, whole

SECRET = "secret-thing"
OWN = queries_pb2.AccessQuestion(right="devices.read")
QUERIES = "/epm.access.v1.AccessQueryService"


def asking(principal: str) -> queries_pb2.AccessQuestion:
    return queries_pb2.AccessQuestion(principal=f"user:{principal}", right="devices.read")


NAMING: dict[str, Callable[[str], Message]] = {
    "/epm.device.v1.GroupService/ApplyGroups": lambda name: groups_pb2.ApplyGroupsRequest(
        groups=[groups_pb2.Group(name=name, type=groups_pb2.GROUP_TYPE_DEVICE)]
    ),
    "/epm.policy.v1.PolicyService/ApplyPolicies": lambda name: policies_pb2.ApplyPoliciesRequest(
        settings_policies=[policies_pb2.SettingsPolicy(metadata=policies_pb2.Metadata(name=name))]
    ),
    "/epm.rbac.v1.RbacService/ApplyAccess": lambda name: rbac_pb2.ApplyAccessRequest(
        roles=[rbac_pb2.Role(name=name, rights=["devices.read"])]
    ),
    f"{QUERIES}/Check": lambda name: queries_pb2.CheckRequest(question=asking(name)),
    f"{QUERIES}/BatchCheck": lambda name: queries_pb2.BatchCheckRequest(questions=[asking(name)]),
    f"{QUERIES}/ListAllowedScopes": lambda name: queries_pb2.ListAllowedScopesRequest(
        principal=f"user:{name}", right="devices.read"
    ),
    f"{QUERIES}/ListRights": lambda name: queries_pb2.ListRightsRequest(principal=f"user:{name}"),
    f"{QUERIES}/Explain": lambda name: queries_pb2.ExplainRequest(question=asking(name)),
}
"""Requests that name a thing, for the RPCs that let everybody in."""

ABOUT_ONESELF: dict[str, Message] = {
    "/epm.rbac.v1.RbacService/WhoAmI": rbac_pb2.WhoAmIRequest(),
    f"{QUERIES}/Check": queries_pb2.CheckRequest(question=OWN),
    f"{QUERIES}/BatchCheck": queries_pb2.BatchCheckRequest(questions=[OWN]),
    f"{QUERIES}/ListAllowedScopes": queries_pb2.ListAllowedScopesRequest(right="devices.read"),
    f"{QUERIES}/ListRights": queries_pb2.ListRightsRequest(),
    f"{QUERIES}/Explain": queries_pb2.ExplainRequest(question=OWN),
}


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[Whole]:
    async with whole(tmp_path) as made:
        await made.hire(SECRET, ["devices.read"], tags=[SECRET])
        await made.token("nobody")
        await made.settled()
        yield made


async def test_nobody_is_refused_alike_whether_a_thing_is_there_or_not(house: Whole) -> None:
    nobody = house.tokens["nobody"]
    for kind in KINDS:
        there = await kind.create(house, house.owner, SECRET, ())
        for verb, (_, call) in kind.verbs.items():
            found = [await status_of(call(house, nobody, name), name) for name in (there, "absent-thing")]
            assert found[0][0] == grpc.StatusCode.PERMISSION_DENIED, (kind.name, verb)
            assert found[0] == found[1], (kind.name, verb)


async def test_what_lets_everybody_in_tells_nobody_what_is_there(house: Whole) -> None:
    everybody = {path_of(one) for one in for_callers(options_pb2.CALLER_ADMINISTRATOR) if rule_of(one).any_right}
    assert everybody == {*NAMING, *ABOUT_ONESELF}
    for path, naming in NAMING.items():
        found = [
            await status_of(answer(house.public, path, naming(name), house.tokens["nobody"]), name)
            for name in (SECRET, "absent-thing")
        ]
        assert found[0][0] == grpc.StatusCode.PERMISSION_DENIED, path
        assert found[0] == found[1], path


async def test_nobody_learns_of_itself_and_of_nobody_else(house: Whole) -> None:
    for path, request in ABOUT_ONESELF.items():
        told = await answer(house.public, path, request, house.tokens["nobody"])
        assert SECRET.encode() not in told, path
        # The Owner's assignment bears the name `owner`; what anybody may know of it, they may not know.
        assert b"owner" not in told.lower(), path


async def test_view_reports_alone_opens_reports_and_nothing_else(house: Whole) -> None:
    viewer = await house.hire("viewer", ["policy_authoring.view_reports"])
    await house.settled()
    opened = set()
    for method in for_callers(options_pb2.CALLER_ADMINISTRATOR):
        if rule_of(method).any_right:
            continue
        try:
            await answer(house.public, path_of(method), empty(method), viewer)
        except grpc.aio.AioRpcError as error:
            if error.code() == grpc.StatusCode.PERMISSION_DENIED:
                continue
        opened.add(method.containing_service.full_name)
    assert opened == {
        "epm.reporting.v1.ReportingService",
        "epm.reporting.v1.ExportService",
        "epm.reporting.v1.InsightsService",
        "epm.reporting.v1.IntakeService",
    }
