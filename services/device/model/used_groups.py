"""The groups that policies are assigned to, and what brings a device within their reach.

- The policy service tells the groups, and the filters by which assignments narrow them.
- What administrators say of a device decides its place there in three ways: its tags and its ownership, for which filters
  ask, and the users who are bound to it.
- Each restriction of a filter counts by itself: the others ask for what the agent reports, which may change later.
- A filter that cannot be read may ask for anything.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from elevation.filters import REPORTED_FIELDS, FilterError, restrictions_of
from elevation.model import Attributes, GroupType
from services.device.model.devices import Attested
from services.device.model.groups import Group
from services.device.model.members import OWNERSHIPS


@dataclass(frozen=True, slots=True)
class UsedGroup:
    """Name a group that assignments include or exclude, and the filters beside it; `any_filter`: they were not told."""

    name: str
    filters: tuple[str, ...] = ()
    any_filter: bool = False


@dataclass(frozen=True, slots=True)
class UsedGroups:
    """Hold all groups that policies are assigned to, at one revision of the policy service; 0 if it told none yet."""

    revision: int = 0
    groups: tuple[UsedGroup, ...] = ()

    @property
    def names(self) -> frozenset[str]:
        """Return the names of the groups."""
        return frozenset(group.name for group in self.groups)


def reached_otherwise(
    used: Iterable[UsedGroup],
    groups: Mapping[str, Sequence[Group]],
    *,
    before: Attested,
    after: Attested,
    anybody: bool = False,
) -> Iterator[str]:
    """Name those of the groups whose policies may reach a device, or its users on it, otherwise than before.

    `groups` has, by their names, the groups that make up each of them: itself and those that it nests, where they list
    users or find devices by a filter. With `anybody` every user counts as bound to the device anew.
    """
    users = frozenset(before.users) ^ frozenset(after.users)
    described = _attributes(before), _attributes(after)
    for each in used:
        parts = groups.get(each.name, ())
        filters = (*each.filters, *(part.filter for part in parts if part.filter))
        asked = each.any_filter and described[0] != described[1]
        people = [part.members for part in parts if part.type is GroupType.USER]
        bound = any(anybody or not users.isdisjoint(members) for members in people)
        if asked or bound or any(_asks_apart(text, *described) for text in filters):
            yield each.name


def _asks_apart(text: str, before: Attributes, after: Attributes) -> bool:
    """Tell whether one of the filter's restrictions tells the descriptions apart."""
    try:
        restrictions = restrictions_of(text)
    except FilterError:
        return before != after
    asked = (each.holds for each in restrictions if each.field not in REPORTED_FIELDS)
    return any(holds(before) is not holds(after) for holds in asked)


def _attributes(attested: Attested) -> dict[str, str | tuple[str, ...]]:
    return {"tag": tuple(sorted(attested.tags)), "ownership": OWNERSHIPS[attested.ownership]}
