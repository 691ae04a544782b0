"""What a right is worth to a caller: the scopes in which it counts, and what follows for objects and groups.

- A right counts only within the scope of the assignment that grants it: scopes do not add up.
- An assignment without scope tags sees every object; without scope groups it may target no group.
- An object without tags carries the tag `default`.
"""

from collections.abc import Iterable
from dataclasses import dataclass

DEFAULT_TAG = "default"


@dataclass(frozen=True, slots=True)
class Scope:
    """Say whom an assignment may target and what it sees."""

    groups: frozenset[str] = frozenset()
    tags: frozenset[str] = frozenset()
    everything: bool = False

    def sees(self, tags: frozenset[str]) -> bool:
        """Tell whether an object with these tags is visible."""
        return self.everything or not self.tags or not self.tags.isdisjoint(tags)

    def targets(self, group: str) -> bool:
        """Tell whether the group may be targeted."""
        return self.everything or group in self.groups


EVERYTHING = Scope(everything=True)


@dataclass(frozen=True, slots=True)
class Permit:
    """Hold the scopes in which the caller has the right that the call needs; none for calls that need no right."""

    right: str = ""
    scopes: tuple[Scope, ...] = ()

    def sees(self, tags: Iterable[str]) -> bool:
        """Tell whether an object with these tags is visible under the right."""
        carried = _carried(tags)
        return any(scope.sees(carried) for scope in self.scopes)

    def may_target(self, groups: Iterable[str], *, tags: Iterable[str]) -> bool:
        """Tell whether an object with these tags may be aimed at every one of the groups."""
        return not self.out_of_scope(groups, tags=tags)

    def out_of_scope(self, groups: Iterable[str], *, tags: Iterable[str]) -> tuple[str, ...]:
        """Name the groups that an object with these tags must not be aimed at, sorted."""
        carried = _carried(tags)
        seeing = [scope for scope in self.scopes if scope.sees(carried)]
        return tuple(sorted({group for group in groups if not any(scope.targets(group) for scope in seeing)}))

    def sees_everything(self) -> bool:
        """Tell whether no object is hidden."""
        return any(scope.everything or not scope.tags for scope in self.scopes)

    def visible_tags(self) -> frozenset[str] | None:
        """Return the tags of which an object must carry one to be visible; None where everything is."""
        return None if self.sees_everything() else frozenset[str]().union(*(scope.tags for scope in self.scopes))

    def tags_for_new_object(self) -> frozenset[str]:
        """Return the tags that a new object inherits: all of its creator's, or `default` where those see everything."""
        return self.visible_tags() or frozenset({DEFAULT_TAG})

    def may_tag(self, tags: Iterable[str]) -> bool:
        """Tell whether an object may be given these tags: nobody hands an object to those whom they cannot see."""
        visible = self.visible_tags()
        return visible is None or _carried(tags) <= visible


def _carried(tags: Iterable[str]) -> frozenset[str]:
    return frozenset(tags) or frozenset({DEFAULT_TAG})
