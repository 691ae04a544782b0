"""Principal groups in principal groups: what contains what, and what only goes round.

A group that contains itself, by whatever way, would make the smallest of its groups as strong as the greatest. The rbac
service refuses such groups; should a snapshot hold some all the same, the steps that lie on a cycle count for nothing.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

GROUP = "group:"
USER = "user:"


class Nesting:
    """Know the groups that directly contain each group, without the steps that lie on a cycle.

    Groups are given with their members, `user:NAME` and `group:NAME`.
    """

    def __init__(self, groups: Mapping[str, Iterable[str]]) -> None:
        every = _containers(groups)
        rounds = tuple(components(every))
        of = {name: number for number, names in enumerate(rounds) for name in names}
        self.containers: Mapping[str, tuple[str, ...]] = {
            name: tuple(outer for outer in outers if of[outer] != of[name]) for name, outers in every.items()
        }
        self.outermost_first: tuple[str, ...] = tuple(name for names in rounds for name in names)

    def above(self, starts: Iterable[str]) -> dict[str, str]:
        """Return the groups and all that contain one of them, nearest first, each with its step down (see `way`)."""
        return _reach(self.containers, starts)


def way(steps: Mapping[str, str], outermost: str) -> tuple[str, ...]:
    """Return the way down from a group: outermost first, where the steps started last."""
    found = [outermost]
    while inner := steps[found[-1]]:
        found.append(inner)
    return tuple(found)


def components(edges: Mapping[str, Sequence[str]]) -> Iterator[list[str]]:
    """Gather what leads round to itself; each gathering comes after all to which it leads (Tarjan, without recursion)."""
    numbers: dict[str, int] = {}
    lowest: dict[str, int] = {}
    open_ones: list[str] = []
    is_open: set[str] = set()
    for root in edges:
        path = [] if root in numbers else [(root, iter(edges[root]))]
        while path:
            name, rest = path[-1]
            if name not in numbers:
                numbers[name] = lowest[name] = len(numbers)
                open_ones.append(name)
                is_open.add(name)
            following = next((other for other in rest if other not in numbers or other in is_open), None)
            if following is None:
                path.pop()
                if path:
                    before = path[-1][0]
                    lowest[before] = min(lowest[before], lowest[name])
                if lowest[name] == numbers[name]:
                    closed = _closed(open_ones, name)
                    is_open.difference_update(closed)
                    yield closed
            elif following in numbers:
                lowest[name] = min(lowest[name], numbers[following])
            else:
                path.append((following, iter(edges[following])))


def cycles(groups: Mapping[str, Iterable[str]]) -> Iterator[tuple[str, ...]]:
    """Give one way round for each gathering of groups that contain one another: from a group to itself, outermost first."""
    every = _containers(groups)
    for names in components(every):
        start = min(names)
        if len(names) > 1 or start in every[start]:
            steps = _reach(every, [start])
            yield start, *way(steps, next(name for name in steps if start in every[name]))


def _reach(edges: Mapping[str, Sequence[str]], starts: Iterable[str]) -> dict[str, str]:
    """Return what the edges lead to, nearest first, each with what came before it; nothing came before a start."""
    steps = {name: "" for name in sorted(starts) if name in edges}
    line = list(steps)
    for inner in line:
        for outer in edges[inner]:
            if outer not in steps:
                steps[outer] = inner
                line.append(outer)
    return steps


def _containers(groups: Mapping[str, Iterable[str]]) -> dict[str, tuple[str, ...]]:
    """Return for each group those that name it as a member; a member that is no group counts for nothing."""
    found: dict[str, list[str]] = {name: [] for name in groups}
    for name, members in groups.items():
        for member in members:
            if member.startswith(GROUP) and (inner := found.get(member.removeprefix(GROUP))) is not None:
                inner.append(name)
    return {name: tuple(sorted(outers)) for name, outers in found.items()}


def _closed(open_ones: list[str], last: str) -> list[str]:
    closed = [open_ones.pop()]
    while closed[-1] != last:
        closed.append(open_ones.pop())
    return closed
