"""Drafts of many objects, as they are laid over what is stored."""

from collections.abc import Iterator

from google.protobuf.message import Message

from elevation.codec.strict import unknown_parts
from elevation.model import Group, GroupType
from epm.policy.v1 import analysis_pb2, policies_pb2
from services._chassis.errors import InvalidError, Problem
from services.policy.codec.drafts import (
    certificate_from_proto,
    kind_from_proto,
    rules_policy_from_proto,
    settings_policy_from_proto,
)
from services.policy.model.application import MOST_OBJECTS
from services.policy.model.drafts import Draft
from services.policy.model.objects import AnyContent
from services.policy.usecases.analysis.drafted import Deletion, DraftedGroup, Overlay

_GROUP_TYPES = {
    policies_pb2.PENDING_GROUP_TYPE_DEVICE: GroupType.DEVICE,
    policies_pb2.PENDING_GROUP_TYPE_USER: GroupType.USER,
}
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
    flaws = [
        Problem(
            place if path == "Draft" else f"{place}.{path}", f"{fault}, which this server does not know; leave it out"
        )
        for path, fault in unknown_parts(bare)
    ]
    deletions: list[Deletion] = []
    for number, named in enumerate(message.deletions):
        try:
            deletions.append(_deletion(named, f"{place}.deletions[{number}]"))
        except InvalidError as error:
            flaws.extend(error.problems)
    return Overlay(
        drafts=tuple(_drafts(message, place)),
        groups=tuple(_group(group, f"{place}.groups[{number}]") for number, group in enumerate(message.groups)),
        deletions=tuple(deletions),
        flaws=tuple(flaws),
    )


def flaws_beside_draft(request: Message) -> list[Problem]:
    """Find what this server does not know in a request, but for its draft, which is read by itself."""
    bare = type(request)()
    bare.CopyFrom(request)
    bare.ClearField("draft")
    whole = bare.DESCRIPTOR.name
    return [
        Problem("" if path == whole else path, f"{fault}, which this server does not know; leave it out")
        for path, fault in unknown_parts(bare)
    ]


def _drafts(message: analysis_pb2.Draft, place: str) -> Iterator[Draft[AnyContent]]:
    for number, certificate in enumerate(message.reusable_certificates):
        yield certificate_from_proto(certificate, f"{place}.reusable_certificates[{number}]")
    for number, settings in enumerate(message.settings_policies):
        yield settings_policy_from_proto(settings, f"{place}.settings_policies[{number}]")
    for number, rules in enumerate(message.rules_policies):
        yield rules_policy_from_proto(rules, f"{place}.rules_policies[{number}]")


def _deletion(message: policies_pb2.ObjectRef, place: str) -> Deletion:
    return Deletion(place=place, kind=kind_from_proto(message, place), name=message.name)


def _group(message: analysis_pb2.DraftGroup, place: str) -> DraftedGroup:
    flaws = [
        Problem("" if path == "DraftGroup" else path, f"{fault}, which this server does not know; leave it out")
        for path, fault in unknown_parts(message)
    ]
    kind = _GROUP_TYPES.get(message.type)
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
