"""Bad shapes, told all at once, each by the path of its field."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from elevation.lookalikes import twin_message, twins
from elevation.texts import check_new_name
from services._chassis.access import OWNER
from services._chassis.errors import Problem
from services._chassis.nesting import GROUP, cycles
from services._chassis.permits import DEFAULT_TAG
from services._chassis.rights import RIGHT_NAMES
from services.rbac.model.issuer_checks import issuer_problems
from services.rbac.model.issuers import TrustedIssuer
from services.rbac.model.nouns import (
    AccessObject,
    AccessState,
    Principal,
    PrincipalGroup,
    Role,
    RoleAssignment,
    ScopeTag,
)

LONGEST_NAME = 128
LONGEST_DESCRIPTION = 256
MOST_TAGS = 100
MOST_MEMBERS = 10_000
MOST_SCOPE_GROUPS = 1000
MOST_ENDPOINT_USERS = 100
LONGEST_USER = 256
_MEMBER = re.compile(r"(user|group):(.+)", re.DOTALL)


def object_problems(items: Sequence[AccessObject], state: AccessState) -> Iterator[Problem]:
    """Say what is wrong with objects that are to be applied to `state`; they may refer to one another."""
    after = state.having(items)
    seen: set[tuple[type[AccessObject], str]] = set()
    places = {
        Role: "roles",
        Principal: "principals",
        PrincipalGroup: "principal_groups",
        RoleAssignment: "role_assignments",
        ScopeTag: "scope_tags",
        TrustedIssuer: "trusted_issuers",
    }
    counts = dict.fromkeys(places.values(), 0)
    for item in items:
        place = places[type(item)]
        path = f"{place}[{counts[place]}]"
        counts[place] += 1
        faults = list(name_problems(f"{path}.name", item.name))
        yield from faults
        # How principals are called, identity providers decide.
        if not faults and state.find(item) is None and not isinstance(item, Principal):
            yield from (Problem(found.path, found.message) for found in check_new_name(f"{path}.name", item.name))
            yield from _twin_problems(f"{path}.name", item, after)
        if (type(item), item.name) in seen:
            yield Problem(f"{path}.name", f"{item.name!r} is given twice; give each name once")
        seen.add((type(item), item.name))
        yield from _own_problems(path, item, after)
    yield from _cycle_problems([item for item in items if isinstance(item, PrincipalGroup)], after)


def _twin_problems(path: str, item: AccessObject, after: AccessState) -> Iterator[Problem]:
    found = sorted(twin for twin in twins(item.name) if after.find(replace(item, name=twin)) is not None)
    yield from (Problem(path, twin_message(twin)) for twin in found[:1])


def name_problems(path: str, name: str) -> Iterator[Problem]:
    """Say what is wrong with a name."""
    if not 0 < len(name) <= LONGEST_NAME:
        yield Problem(path, f"must have 1 to {LONGEST_NAME} characters")
    elif not name.isprintable() or name != name.strip():
        yield Problem(path, "must be printable, without spaces around it")


def principal_problems(path: str, principal: str) -> Iterator[Problem]:
    """Say what is wrong with a principal."""
    matched = _MEMBER.fullmatch(principal)
    if matched is None or matched[1] != "user":
        yield Problem(path, "must be user:NAME")
    else:
        yield from name_problems(path, matched[2])


def description_problems(path: str, text: str) -> Iterator[Problem]:
    """Say what is wrong with a description."""
    if len(text) > LONGEST_DESCRIPTION:
        yield Problem(path, f"must have at most {LONGEST_DESCRIPTION} characters")
    if not all(character.isprintable() or character in "\n\t" for character in text):
        yield Problem(path, "must not hold control characters")


def _own_problems(path: str, item: AccessObject, after: AccessState) -> Iterator[Problem]:
    match item:
        case Role():
            yield from _role_problems(path, item)
        case Principal():
            yield from _record_problems(path, item)
        case PrincipalGroup():
            if len(item.members) > MOST_MEMBERS:
                yield Problem(f"{path}.members", f"must be at most {MOST_MEMBERS}; make several groups")
                return
            for member in sorted(item.members):
                yield from _member_problems(f"{path}.members", member, after)
        case RoleAssignment():
            yield from _assignment_problems(path, item, after)
        case ScopeTag():
            yield from description_problems(f"{path}.description", item.description)
        case TrustedIssuer():
            yield from issuer_problems(path, item, after)


def _cycle_problems(items: Sequence[PrincipalGroup], after: AccessState) -> Iterator[Problem]:
    """Name a way round for all groups that contain one another; what stood before contains none, so a new one takes part."""
    if not any(member.startswith(GROUP) for item in items for member in item.members):
        return
    for way in cycles({name: group.members for name, group in after.principal_groups.items()}):
        round_trip = " contains ".join(repr(name) for name in way)
        index = next(index for index, item in enumerate(items) if item.name in way)
        yield Problem(
            f"principal_groups[{index}].members",
            f"{round_trip}; no group may contain itself, take one of these members out",
        )


def _record_problems(path: str, record: Principal) -> Iterator[Problem]:
    if _MEMBER.fullmatch(record.name):
        yield Problem(f"{path}.name", "must be the name of a principal without user:; groups have no record")
    if len(record.endpoint_users) > MOST_ENDPOINT_USERS:
        yield Problem(f"{path}.endpoint_users", f"must be at most {MOST_ENDPOINT_USERS}")
        return
    for user in sorted(record.endpoint_users):
        if not 0 < len(user) <= LONGEST_USER or not user.isprintable() or user != user.strip():
            yield Problem(
                f"{path}.endpoint_users",
                f"{user!r} must have 1 to {LONGEST_USER} printable characters, without spaces around them",
            )


def _role_problems(path: str, role: Role) -> Iterator[Problem]:
    yield from description_problems(f"{path}.description", role.description)
    if not role.rights:
        yield Problem(f"{path}.rights", "must name at least one right, for example policy_authoring.read")
    for right in sorted(role.rights - RIGHT_NAMES):
        yield Problem(f"{path}.rights", f"{right!r} is no right; known are {', '.join(sorted(RIGHT_NAMES))}")


def _assignment_problems(path: str, assignment: RoleAssignment, after: AccessState) -> Iterator[Problem]:
    if assignment.role not in after.roles:
        yield Problem(f"{path}.role", f"there is no role {assignment.role!r}; create it first or in the same call")
    if not assignment.members:
        yield Problem(f"{path}.members", "must name at least one member, user:NAME or group:NAME")
    if len(assignment.members) > MOST_MEMBERS or len(assignment.scope_groups) > MOST_SCOPE_GROUPS:
        most = f"{MOST_MEMBERS} members and {MOST_SCOPE_GROUPS} scope groups"
        yield Problem(path, f"must have at most {most}; make several assignments")
        return
    for member in sorted(assignment.members):
        yield from _member_problems(f"{path}.members", member, after)
    yield from _scope_problems(path, assignment, after)


def _member_problems(path: str, member: str, after: AccessState) -> Iterator[Problem]:
    matched = _MEMBER.fullmatch(member)
    if matched is None:
        yield Problem(path, f"{member!r} must be user:NAME or group:NAME")
    elif matched[1] == "user":
        yield from name_problems(path, matched[2])
    elif matched[2] not in after.principal_groups:
        yield Problem(path, f"there is no principal group {matched[2]!r}; create it first or in the same call")


def _scope_problems(path: str, assignment: RoleAssignment, after: AccessState) -> Iterator[Problem]:
    if assignment.role == OWNER and (assignment.scope_groups or assignment.scope_tags):
        yield Problem(path, "an Owner sees and targets everything; leave scope groups and scope tags empty")
    for group in sorted(assignment.scope_groups):
        yield from name_problems(f"{path}.scope_groups", group)
    if len(assignment.scope_tags) > MOST_TAGS:
        yield Problem(f"{path}.scope_tags", f"must be at most {MOST_TAGS}")
    yield from _unknown_tags(f"{path}.scope_tags", assignment.scope_tags, after)


def _unknown_tags(path: str, tags: Iterable[str], after: AccessState) -> Iterator[Problem]:
    for tag in sorted(tags):
        if tag != DEFAULT_TAG and tag not in after.scope_tags:
            yield Problem(path, f"there is no scope tag {tag!r}; create it first or in the same call")
