"""Scope tags that there are not, over TLS at the four services in one process; the rbac service alone knows which there are."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from epm.device.v1 import groups_pb2, groups_pb2_grpc
from epm.policy.v1 import policies_pb2, policies_pb2_grpc
from epm.rbac.v1 import rbac_pb2
from services.policy.codec.authored import settings_policy_to_proto
from tests.builders.policy import settings_policy
from tests.builders.refusals import refusal_of
from tests.builders.whole import Whole, whole


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[Whole]:
    async with whole(tmp_path) as made:
        await made.settled()
        yield made


def tagged(tag: str, **values: object) -> tuple[groups_pb2.ApplyGroupsRequest, policies_pb2.ApplyPoliciesRequest]:
    """Ask for a group and a policy that carry the tag."""
    group = groups_pb2.Group(name="laptops", type=groups_pb2.GROUP_TYPE_DEVICE, scope_tags=[tag])
    policy = settings_policy_to_proto(settings_policy())
    policy.metadata.scope_tags[:] = [tag]
    return (
        groups_pb2.ApplyGroupsRequest(groups=[group], **values),  # type: ignore[arg-type]
        policies_pb2.ApplyPoliciesRequest(settings_policies=[policy], **values),  # type: ignore[arg-type]
    )


async def test_no_object_is_given_a_tag_that_nobody_made(house: Whole) -> None:
    stubs = stubs_of(house)
    for (apply, field), asked in zip(stubs, tagged("emaa"), strict=True):
        refused = await refusal_of(apply(asked, metadata=house.owner))
        assert (refused.code, refused.fields) == ("INVALID_ARGUMENT", {field})
        assert '"emaa"' in refused.problems[field]


async def test_tags_are_made_and_given_in_one_go(house: Whole) -> None:
    stubs = stubs_of(house)
    for number in range(10):
        tag = f"tag-{number}"
        for (apply, _), asked in zip(stubs, tagged(tag, pending_scope_tags=[tag], validate_only=True), strict=True):
            await apply(asked, metadata=house.owner)
        access = rbac_pb2.ApplyAccessRequest(scope_tags=[rbac_pb2.ScopeTag(name=tag)])
        made = await house.rbac.ApplyAccess(access, metadata=house.owner)
        for (apply, _), asked in zip(stubs, tagged(tag, access_revision=made.revision), strict=True):
            await apply(asked, metadata=house.owner)


def stubs_of(house: Whole) -> tuple[tuple[Any, str], tuple[Any, str]]:
    """Return how groups and policies are applied, and the field of the tags of the first."""
    return (
        (groups_pb2_grpc.GroupServiceStub(house.public).ApplyGroups, "groups[0].scope_tags"),
        (
            policies_pb2_grpc.PolicyServiceStub(house.public).ApplyPolicies,
            "settings_policies[0].metadata.scope_tags",
        ),
    )
