"""Groups of devices and of users: members by name and nested groups, or for devices a filter.

`all-devices` and `all-users` always exist and are nobody's to make. A group that was deleted leaves a tombstone, so that
those who follow the directory hear of it.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import elevation.checks
import elevation.model
from elevation.lookalikes import twin_message, twins
from elevation.model import GroupType
from elevation.written import check_written
from services._chassis.errors import Problem
from services._chassis.expected import etag_of
from services.device.model import texts
from services.device.model.pages import weigh

MOST_GROUPS_A_CALL = 1000
MOST_MEMBERS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupDraft:
    """Describe a group as an administrator wants it; `type` None was not stated."""

    name: str
    type: GroupType | None
    members: tuple[str, ...] = ()
    filter: str = ""
    description: str = ""
    scope_tags: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Hold one group; members and nested groups are sorted."""

    name: str
    type: GroupType
    members: tuple[str, ...] = ()
    filter: str = ""
    description: str = ""
    scope_tags: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    deleted: bool = False
    revision: int = 0

    @property
    def weight(self) -> int:
        """Return about how many bytes the group takes in a message."""
        return weigh((self.name, self.filter, self.description), self.members, self.groups, self.scope_tags)

    @property
    def lists_devices(self) -> bool:
        """Tell whether devices are members because somebody named them."""
        return self.type is GroupType.DEVICE and not self.filter

    @property
    def etag(self) -> str:
        """Return what changes with every change of the group's content."""
        return etag_of({"name": self.name, **self.shown()})

    def has_members_of(self, other: "Group") -> bool:
        """Tell whether the same devices or users are in both, whatever becomes of the groups that they nest."""
        return (self.members, self.filter, self.groups) == (other.members, other.filter, other.groups)

    def shown(self) -> dict[str, object]:
        """Return the group as an audit record keeps it."""
        return {
            "type": self.type.value,
            "members": list(self.members),
            "groups": list(self.groups),
            "filter": self.filter,
            "description": self.description,
            "scope_tags": list(self.scope_tags),
        }


def check_drafts(
    drafts: Sequence[GroupDraft], known: Collection[str] = (), twins_there: Collection[str] = ()
) -> Iterator[Problem]:
    """Find everything that is wrong with groups that are to be applied together.

    The `known` ones have their names already; `twins_there` are names of groups that some of the drafts look like.
    """
    if len(drafts) > MOST_GROUPS_A_CALL:
        yield Problem("groups", f"has {len(drafts)} entries; at most {MOST_GROUPS_A_CALL} are allowed in one call")
        return
    seen: set[str] = set()
    taken = {*twins_there, *(draft.name for draft in drafts)}
    for number, draft in enumerate(drafts):
        at = f"groups[{number}]"
        yield from _check_draft(at, draft, named=draft.name not in known)
        if draft.name not in known and (alike := sorted(twins(draft.name) & taken)):
            yield Problem(f"{at}.name", twin_message(alike[0]))
        if draft.name in seen:
            yield Problem(f"{at}.name", f'"{draft.name}" stands twice in this call; remove one')
        seen.add(draft.name)


def wanted(draft: GroupDraft, existing: Group | None, *, own_tags: frozenset[str]) -> Group:
    """Return the group that a checked draft asks for.

    Without scope tags a group keeps those it has, and a new one gets its creator's.
    """
    kept = existing.scope_tags if existing else tuple(sorted(own_tags))
    return Group(
        name=draft.name,
        type=_stated(draft),
        members=tuple(sorted(draft.members)),
        groups=tuple(sorted(draft.groups)),
        filter=draft.filter,
        description=draft.description,
        scope_tags=tuple(sorted(draft.scope_tags)) or kept,
        revision=existing.revision if existing else 0,
    )


def with_member(group: Group, name: str) -> Group:
    """Return the group with one more member."""
    return replace(group, members=tuple(sorted({*group.members, name})))


def check_nesting(
    drafts: Sequence[GroupDraft], others: Mapping[str, Group], nested_by: Mapping[str, str]
) -> Iterator[Problem]:
    """Find what is wrong with the nesting of checked groups that are to be applied together.

    `others` has the groups outside of the call that they nest, as far as the caller may know of them; `nested_by` lists for
    people the groups outside of the call that nest one of them.
    """
    after = {name: _in_kernel(group) for name, group in others.items()} | {
        draft.name: _in_kernel(draft) for draft in drafts
    }
    typeless = {draft.name for draft in drafts if draft.type is None}
    for number, draft in enumerate(drafts):
        at = f"groups[{number}]"
        # A type that is missing is a problem of its own: the one that was meant may well fit.
        unsure = draft.groups if draft.type is None else typeless.intersection(draft.groups)
        group = _in_kernel(draft)
        fitting = {name: replace(after[name], type=group.type) for name in unsure if name in after}
        for problem in elevation.checks.check_nesting(group, {**after, **fitting} if fitting else after):
            yield Problem(f"{at}.{problem.path}", problem.message)
        if draft.groups and (parents := nested_by.get(draft.name)):
            message = (
                f'"{draft.name}" is nested by {parents}, and groups nest one level deep; take it out of there first'
            )
            yield Problem(f"{at}.groups", message)


def nestable(drafts: Sequence[GroupDraft], problems: Sequence[Problem]) -> list[GroupDraft]:
    """Return the drafts of a call that has these problems, for `check_nesting` to find the others.

    What has no usable name nests nothing, and a name that is none gives way to one that is not looked into, its own.
    """
    if len(drafts) > MOST_GROUPS_A_CALL:
        return []
    faults = {problem.field for problem in problems}
    return [
        replace(
            draft,
            groups=()
            if faults & {f"groups[{number}].name", f"groups[{number}].groups"}
            else tuple(
                draft.name if f"groups[{number}].groups[{place}]" in faults else name
                for place, name in enumerate(draft.groups)
            ),
        )
        for number, draft in enumerate(drafts)
    ]


def without_member(group: Group, name: str) -> Group:
    """Return the group with one member less."""
    return replace(group, members=tuple(member for member in group.members if member != name))


def _check_draft(at: str, draft: GroupDraft, *, named: bool) -> Iterator[Problem]:
    if draft.type is None:
        yield Problem(f"{at}.type", "is missing; say DEVICE or USER")
    if len(draft.members) > MOST_MEMBERS:
        yield Problem(f"{at}.members", f"has {len(draft.members)} entries; at most {MOST_MEMBERS} are allowed")
        draft = replace(draft, members=())
    if len(set(draft.members)) != len(draft.members):
        yield Problem(f"{at}.members", "names a member twice; remove the repetition")
    group = _in_kernel(draft)
    problems = [*elevation.checks.check_group(group), *check_written(group, named=named)]
    yield from (Problem(f"{at}.{problem.path}", problem.message) for problem in problems)
    yield from texts.check_names(f"{at}.scope_tags", draft.scope_tags, most=texts.MOST_SCOPE_TAGS)


def _in_kernel(group: GroupDraft | Group) -> elevation.model.Group:
    return elevation.model.Group(
        name=group.name,
        type=group.type or GroupType.DEVICE,
        members=group.members,
        filter=group.filter,
        description=group.description,
        groups=group.groups,
    )


def _stated(draft: GroupDraft) -> GroupType:
    if draft.type is None:
        raise ValueError("a draft without a type was not checked")
    return draft.type
