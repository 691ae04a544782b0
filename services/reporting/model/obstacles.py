"""Sets of numbers, one for each application: who met it unmanaged, and where.

- Sets of two spans of time are added by being united: whoever is in both counts once, so nothing is counted twice however often
  it is added. That is why they are kept and counts of users are not.
- What is kept of a span is one value: all its files, each with its set, in the portable form of Roaring bitmaps. That takes
  two bytes a number where numbers are rare, and a bit where they are dense.
- An application frees those to whom no other one is an obstacle: who is in one set alone. All sets together tell who that is,
  in one walk over them.
"""

import struct
from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import NamedTuple

from pyroaring import BitMap

Sets = Mapping[int, BitMap]
"""The numbers of users, or of devices, by the number of a file; none is empty."""
Places = Mapping[int, slice]
"""Where in a value the set of each file is."""
NOTHING: Sets = {}
_HEAD = struct.Struct("<I")


class Weight(NamedTuple):
    """How many users an application stands in the way of, and how many of them it alone keeps from being ready."""

    file: int
    users: int
    users_freed: int


def of_pairs(pairs: Iterable[tuple[int, int]]) -> Sets:
    """Return the sets of these pairs of a file and a number."""
    found: defaultdict[int, list[int]] = defaultdict(list)
    for file, number in pairs:
        found[file].append(number)
    return {file: BitMap(numbers) for file, numbers in found.items()}


def united(many: Iterable[Sets]) -> Sets:
    """Return what is in any of the sets; those that are handed in stay as they are."""
    found: defaultdict[int, list[BitMap]] = defaultdict(list)
    for sets in many:
        for file, numbers in sets.items():
            found[file].append(numbers)
    return {file: some[0] if len(some) == 1 else BitMap.union(*some) for file, some in found.items()}


def within(sets: Sets, numbers: BitMap) -> Sets:
    """Return what is left of the sets within these numbers."""
    return {file: left for file, found in sets.items() if (left := found & numbers)}


def weighed(sets: Sets) -> list[Weight]:
    """Return what each application weighs: those first that free most users, then those of most users; equal ones in no order."""
    once, twice = BitMap(), BitMap()
    for numbers in sets.values():
        twice |= once & numbers
        once |= numbers
    alone = once - twice
    found = [Weight(file, len(numbers), numbers.intersection_cardinality(alone)) for file, numbers in sets.items()]
    return sorted(found, key=lambda one: (-one.users_freed, -one.users))


def packed(sets: Sets) -> bytes:
    """Return the sets as one value."""
    parts = [numbers.serialize() for numbers in sets.values()]
    numbers = struct.pack(f"<{2 * len(sets)}I", *sets, *map(len, parts))
    return b"".join((_HEAD.pack(len(sets)), numbers, *parts))


def unpacked(value: bytes, files: Iterable[int] | None = None, places: Places | None = None) -> Sets:
    """Return the sets in a value, those of these files alone, or all; where they are in it need not be read if it is told."""
    places = places_in(value) if places is None else places
    some = places.keys() if files is None else (file for file in files if file in places)
    return {file: BitMap.deserialize(value[places[file]]) for file in some}


def places_in(value: bytes) -> Places:
    """Return where in a value the set of each file is."""
    (count,) = _HEAD.unpack_from(value)
    numbers = struct.unpack_from(f"<{2 * count}I", value, _HEAD.size)
    ends = list(accumulate(numbers[count:], initial=_HEAD.size * (1 + 2 * count)))
    return dict(zip(numbers[:count], map(slice, ends, ends[1:]), strict=True))
