"""The names of files that rules have, filed so that those with a file in common are found without trying every pair.

Of two names that share a file one literal beginning starts with the other, and likewise their ends, so the names for a
name are found by looking its beginnings and ends up.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain
from typing import Final

from elevation.lint.patterns import Glob, overlap, takes_in
from elevation.wildcards import literals

MANY: Final = 16
"""As many names or shelves are put together into one."""

_LAST = "\U0010ffff"
"""No text of a document is behind one that goes on with it."""


class Names:
    """All names of a platform, by their literal beginnings and ends."""

    def __init__(self, names: Iterable[Glob]) -> None:
        self.all = tuple(names)
        by_prefix: dict[str, list[Glob]] = {}
        for name in self.all:
            by_prefix.setdefault(name.prefix, []).append(name)
        self._ends = {prefix: _Ends(found) for prefix, found in by_prefix.items()}
        self._prefixes = sorted(by_prefix)
        self._lengths = sorted({len(prefix) for prefix in self._prefixes})
        self._counts = list(accumulate((len(by_prefix[prefix]) for prefix in self._prefixes), initial=0))

    def count_near(self, name: Glob) -> int:
        """Count the names whose literal beginning begins with that of a pattern."""
        return self._counts[self._after(name)] - self._counts[bisect_left(self._prefixes, name.prefix)]

    def wider(self, name: Glob) -> Iterator[Glob]:
        """List the names that take a name in."""
        for alike in self._around(name):
            yield from (other for other in alike.within(name.text) if takes_in(other, name))

    def sharing(self, name: Glob) -> Iterator[Glob]:
        """List the names that share a file with a name, those of crowds left out."""
        for alike in self._near(name):
            if name.is_literal:
                others: Iterable[Glob] = alike.within(name.text)
            else:
                others = alike.bound if name.is_free and alike.crowd else alike.all
            yield from (other for other in others if overlap(name, other))

    def crowds(self, name: Glob) -> Iterator[tuple[Glob, ...]]:
        """List many names at once that all share a file with a pattern: those of stars with such ends do."""
        if name.is_free:
            yield from (alike.crowd for alike in self._near(name) if alike.crowd)

    def narrower(self, name: Glob) -> Iterator[Glob]:
        """List the names that a name takes in."""
        piece = max(literals(name.text), key=len)
        for alike in self._near(name):
            yield from (other for other in alike.all if piece in other.text and takes_in(name, other))

    def _near(self, name: Glob) -> Iterator["_Alike"]:
        """List the names of which some text has the beginnings and the ends, and those of the name."""
        return chain(self._around(name), self._beyond(name))

    def _around(self, name: Glob) -> Iterator["_Alike"]:
        """List the names whose literal beginning the name begins with; all that take it in are among them."""
        prefix = name.prefix
        for length in self._lengths:
            if length > len(prefix):
                return
            ends = self._ends.get(prefix[:length])
            if ends is not None:
                yield from ends.like(name.suffix)

    def _beyond(self, name: Glob) -> Iterator["_Alike"]:
        """List the names whose literal beginning is longer than that of a pattern and begins with it."""
        if name.is_literal:
            return
        first = bisect_right(self._prefixes, name.prefix)
        for longer in self._prefixes[first : self._after(name)]:
            yield from self._ends[longer].like(name.suffix)

    def _after(self, name: Glob) -> int:
        return bisect_left(self._prefixes, name.prefix + _LAST)


class _Ends:
    """Names with one literal beginning, by their literal ends."""

    __slots__ = ("_by_end", "_ends", "_lengths")

    def __init__(self, names: Iterable[Glob]) -> None:
        by_end: dict[str, list[Glob]] = {}
        for name in names:
            by_end.setdefault(name.suffix[::-1], []).append(name)
        self._by_end = {end: _Alike(found) for end, found in by_end.items()}
        self._ends = sorted(self._by_end)
        self._lengths = sorted({len(end) for end in self._ends})

    def like(self, suffix: str) -> Iterator["_Alike"]:
        """List the names whose end ends with this one, or this one with it."""
        end = suffix[::-1]
        for length in self._lengths:
            if length >= len(end):
                break
            alike = self._by_end.get(end[:length])
            if alike is not None:
                yield alike
        if self._lengths[-1] < len(end):
            return
        first = bisect_left(self._ends, end)
        for longer in self._ends[first : bisect_left(self._ends, end + _LAST)]:
            yield self._by_end[longer]


class _Alike:
    """Names with one literal beginning and one literal end, by what they have in the middle."""

    __slots__ = ("_by_piece", "_other", "all", "bound", "crowd")

    def __init__(self, names: Sequence[Glob]) -> None:
        self.all = names
        free = tuple(name for name in names if name.is_free)
        self.crowd = free if len(free) >= MANY else ()
        """The patterns of stars alone, where they are many."""
        self.bound = [name for name in names if not name.is_free] if self.crowd else names
        self._other: list[Glob] = []
        self._by_piece: dict[int, dict[str, list[Glob]]] = {}
        for name in names:
            piece = max(literals(name.text)[1:-1], key=len, default="")
            if piece and len(names) >= MANY:
                self._by_piece.setdefault(len(piece), {}).setdefault(piece, []).append(name)
            else:
                self._other.append(name)

    def within(self, text: str) -> Iterator[Glob]:
        """List the names whose middle a text has; all that match it, or take it in as a pattern, are among them."""
        yield from self._other
        for length, by_piece in self._by_piece.items():
            for piece in dict.fromkeys(text[at : at + length] for at in range(len(text) - length + 1)):
                yield from by_piece.get(piece, ())
