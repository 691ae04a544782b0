"""Groups of devices and of users."""

from elevation.model import GroupType
from epm.device.v1 import groups_pb2
from services._chassis.expected import Expected
from services.device.model.groups import Group, GroupDraft
from services.device.model.members import Member, MemberKind
from services.device.usecases.groups import Action, Applied

GROUP_TYPES = {
    GroupType.DEVICE: groups_pb2.GROUP_TYPE_DEVICE,
    GroupType.USER: groups_pb2.GROUP_TYPE_USER,
}
_KINDS = {
    MemberKind.LISTED: groups_pb2.MEMBERSHIP_KIND_LISTED,
    MemberKind.FOUND: groups_pb2.MEMBERSHIP_KIND_FOUND,
    MemberKind.NESTED: groups_pb2.MEMBERSHIP_KIND_NESTED,
}
_TYPES_BY_NUMBER = {number: type_ for type_, number in GROUP_TYPES.items()}
_ACTIONS = {
    Action.CREATED: groups_pb2.APPLY_ACTION_CREATED,
    Action.UPDATED: groups_pb2.APPLY_ACTION_UPDATED,
    Action.UNCHANGED: groups_pb2.APPLY_ACTION_UNCHANGED,
}


def group_to_proto(group: Group) -> groups_pb2.Group:
    """Write a group."""
    return groups_pb2.Group(
        name=group.name,
        description=group.description,
        type=GROUP_TYPES[group.type],
        members=group.members,
        filter=group.filter,
        scope_tags=group.scope_tags,
        groups=group.groups,
        etag=group.etag,
    )


def draft_from_proto(message: groups_pb2.Group) -> GroupDraft:
    """Read a group that is asked for; a type that nobody knows counts as none."""
    return GroupDraft(
        name=message.name,
        type=_TYPES_BY_NUMBER.get(message.type),
        members=tuple(message.members),
        filter=message.filter,
        description=message.description,
        scope_tags=tuple(message.scope_tags),
        groups=tuple(message.groups),
    )


def expected_from_proto(request: groups_pb2.ApplyGroupsRequest) -> list[Expected]:
    """Read which groups have to be as they were."""
    return [Expected(entry.kind, entry.name, entry.etag) for entry in request.expected]


def member_to_proto(member: Member) -> groups_pb2.GroupMember:
    """Write a member of a group."""
    return groups_pb2.GroupMember(
        name=member.name, device_id=member.device_id, kind=_KINDS[member.kind], by_group=member.by_group
    )


def applied_to_proto(applied: Applied) -> groups_pb2.ApplyGroupsResponse:
    """Write what became of groups."""
    groups = [groups_pb2.AppliedGroup(name=name, action=_ACTIONS[action]) for name, action in applied.actions]
    return groups_pb2.ApplyGroupsResponse(groups=groups, directory_revision=applied.revision)
