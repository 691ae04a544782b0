"""Groups: decode, call one use case, encode."""

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from epm.device.v1 import groups_pb2, groups_pb2_grpc
from services._chassis.access import AccessControl
from services._chassis.caller import current_caller, current_permit
from services._chassis.permits import Permit
from services._chassis.scope_tags import SECONDS_FOR_REVISION, tags_of
from services.device.codec import groups as codec
from services.device.ports import Store
from services.device.usecases import groups, members
from services.device.usecases.visibility import Standing


class GroupServicer(groups_pb2_grpc.GroupServiceServicer):
    """Answer `epm.device.v1.GroupService`."""

    def __init__(self, store: Store, access: AccessControl, *, now: Callable[[], datetime]) -> None:
        self._store = store
        self._access = access
        self._now = now

    async def GetGroup(self, request: groups_pb2.GetGroupRequest, context: Any) -> groups_pb2.GetGroupResponse:
        """Return a group."""
        group = await groups.get_group(self._store, request.name, permit=current_permit())
        return groups_pb2.GetGroupResponse(group=codec.group_to_proto(group))

    async def ListGroups(self, request: groups_pb2.ListGroupsRequest, context: Any) -> groups_pb2.ListGroupsResponse:
        """List groups by name."""
        page = await groups.list_groups(
            self._store, permit=current_permit(), page_size=request.page_size, page_token=request.page_token
        )
        return groups_pb2.ListGroupsResponse(
            groups=map(codec.group_to_proto, page.items), next_page_token=page.next_token
        )

    async def ListGroupMembers(
        self, request: groups_pb2.ListGroupMembersRequest, context: Any
    ) -> groups_pb2.ListGroupMembersResponse:
        """List who is in a group now."""
        page = await members.list_members(
            self._store,
            request.name,
            permit=current_permit(),
            standing=self._standing(),
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return groups_pb2.ListGroupMembersResponse(
            members=map(codec.member_to_proto, page.items), next_page_token=page.next_token
        )

    async def ApplyGroups(self, request: groups_pb2.ApplyGroupsRequest, context: Any) -> groups_pb2.ApplyGroupsResponse:
        """Create or replace groups, given the rights for what the call does."""
        await self._access.at_least(request.access_revision, SECONDS_FOR_REVISION)
        applied = await groups.apply_groups(
            self._store,
            [codec.draft_from_proto(group) for group in request.groups],
            standing=self._standing(),
            validate_only=request.validate_only,
            expected=codec.expected_from_proto(request),
            pending_tags=list(request.pending_scope_tags),
            now=self._now(),
        )
        return codec.applied_to_proto(applied)

    async def DeleteGroup(self, request: groups_pb2.DeleteGroupRequest, context: Any) -> groups_pb2.DeleteGroupResponse:
        """Delete a group."""
        revision = await groups.delete_group(
            self._store, request.name, permit=current_permit(), standing=self._standing(), now=self._now()
        )
        return groups_pb2.DeleteGroupResponse(directory_revision=revision)

    def _standing(self) -> Standing:
        return Standing(self._check, self._excess, partial(tags_of, self._access))

    def _excess(self, group: str) -> Sequence[str]:
        caller = current_caller()
        return self._access.access().excess_over(group, caller.principal, self._now(), caller.groups)

    def _check(self, right: str) -> Permit:
        caller = current_caller()
        return self._access.check(caller.principal, right, caller.groups)
