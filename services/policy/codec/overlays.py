"""Drafts of many objects, as they are laid over what is stored."""

from google.protobuf.message import Message

from elevation.model import Group, GroupType
from epm.policy.v1 import analysis_pb2, policies_pb2
from services._chassis.errors import InvalidError, Problem
from services.policy.codec.drafts import GROUP_TYPES, drafts_from_proto, kind_from_proto
from services.policy.codec.reading import unknown_to_us
from services.policy.model.application import MOST_OBJECTS
from services.policy.usecases.analysis.drafted import Deletion, DraftedGroup, Overlay

_READ_APART = ("reusable_certificates", "settings_policies", "rules_policies", "groups")
_COUNTED = (*_READ_APART, "deletions")


def overlay_from_proto(message: analysis_pb2.Draft, place: str = "draft") -> Overlay:
    """Read a draft; `place` is where the request holds it. What cannot be read stands among its flaws."""
    if (count := sum(len(getattr(message, field)) for field in _COUNTED)) > MOST_OBJECTS:
        flaw = Problem(place, f"holds {count} objects; at most {MOST_OBJECTS} are allowed in one draft")
        return Overlay(flaws=(flaw,))
    bare: Message = analysis_pb2.Draft()
    bare.CopyFrom(message)
    for field in _READ_APART:
        bare.ClearField(field)
    flaws = unknown_to_us(bare, place)
    deletions: list[Deletion] = []
    for number, named in enumerate(message.deletions):
        try:
            deletions.append(_deletion(named, f"{place}.deletions[{number}]"))
        except InvalidError as error:
            flaws.extend(error.problems)
    return Overlay(
        drafts=tuple(drafts_from_proto(message, place)),
        groups=tuple(_group(group, f"{place}.groups[{number}]") for number, group in enumerate(message.groups)),
        deletions=tuple(deletions),
        flaws=tuple(flaws),
    )


def flaws_beside_draft(request: Message) -> list[Problem]:
    """Find what this server does not know in a request, but for its draft, which is read by itself."""
    bare = type(request)()
    bare.CopyFrom(request)
    bare.ClearField("draft")
    return unknown_to_us(bare)


def _deletion(message: policies_pb2.ObjectRef, place: str) -> Deletion:
    if message.kind == "Group":
        return Deletion(place=place, kind=Group, name=message.name)
    return Deletion(place=place, kind=kind_from_proto(message, place), name=message.name)


def _group(message: analysis_pb2.DraftGroup, place: str) -> DraftedGroup:
    flaws = unknown_to_us(message)
    kind = GROUP_TYPES.get(message.type)
    if message.type == policies_pb2.PENDING_GROUP_TYPE_UNSPECIFIED:
        flaws.append(Problem("type", "is missing; say DEVICE or USER"))
    group = Group(
        name=message.name,
        type=kind or GroupType.DEVICE,
        members=tuple(message.members),
        filter=message.filter,
        groups=tuple(message.groups),
    )
    return DraftedGroup(place=place, group=group, flaws=tuple(flaws))
