"""Tell whether any device can satisfy several filters at once.

Filters compare the fields of a device with fixed values, so for each field a few values stand for all: those that are
named, one between each two, and none. A device of such values, one for each field, is tried against all filters; if
none passes, no device does. Where this would take too many devices, or no few values stand for all, the answer is that
some device may: nobody may rely on that one.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, product
from math import prod

from elevation.filtering import FilterError
from elevation.filters import Restriction, compile_filter, restrictions_of
from elevation.lint.patience import go_on
from elevation.model import Attributes

_MOST_DEVICES = 2048
_MOST_PARTS = 6
_ORDERED = frozenset({"<", "<=", ">", ">="})
_ABOVE = "\x00"
"""Appended to a text it makes the next one in order, and no text of a filter holds it."""
_NEWER = ".0.0.0.0.0.0.0.0.0.1"

_Values = tuple[str, ...]
"""The values that a device has in one field; none where it is not filled."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A filter that has to hold, or must not."""

    filter: str
    holds: bool = True


def impossible(conditions: Iterable[Condition]) -> bool:
    """Tell whether no device at all satisfies these conditions."""
    go_on()
    return _impossible(frozenset(conditions))


@lru_cache(maxsize=1 << 15)
def _impossible(conditions: frozenset[Condition]) -> bool:
    if any(Condition(condition.filter, not condition.holds) in conditions for condition in conditions):
        return True
    try:
        tests = [(compile_filter(condition.filter), condition.holds) for condition in conditions]
        found = [restriction for condition in conditions for restriction in restrictions_of(condition.filter)]
    except FilterError:
        return False
    devices = _devices(found)
    if devices is None:
        return False
    return not any(all(test(device) is holds for test, holds in tests) for device in devices)


def _devices(restrictions: Sequence[Restriction]) -> Iterator[Attributes] | None:
    """Make devices that stand for all, as far as these restrictions tell them apart; None where too many would."""
    fields = sorted({restriction.field for restriction in restrictions})
    choices: list[tuple[_Values, ...]] = []
    for field in fields:
        values = _values(field, [found for found in restrictions if found.field == field])
        if values is None:
            return None
        choices.append(values)
    if prod(len(values) for values in choices) > _MOST_DEVICES:
        return None
    return (dict(zip(fields, chosen, strict=True)) for chosen in product(*choices))


def _values(field: str, restrictions: Sequence[Restriction]) -> tuple[_Values, ...] | None:
    named = sorted({found.value for found in restrictions})
    ordered = any(found.operator in _ORDERED for found in restrictions)
    if field == "tag":
        return None if ordered or len(named) > _MOST_PARTS else _subsets([*named, _ABOVE])
    parts = sorted({found.value for found in restrictions if found.operator == ":"})
    if parts:
        if ordered or field == "osVersion" or len(parts) > _MOST_PARTS:
            return None
        joined = (_ABOVE.join(["", *subset, ""]) for subset in _subsets(parts))
        return ((), *((value,) for value in {*joined, *named}))
    return ((), *((value,) for value in (_versions(named) if field == "osVersion" else _texts(named))))


def _subsets(values: Sequence[str]) -> tuple[_Values, ...]:
    return tuple(chosen for size in range(len(values) + 1) for chosen in combinations(values, size))


def _texts(named: Sequence[str]) -> list[str]:
    """Give the texts that are named, and one below, above and between them."""
    return [_ABOVE, *named, *(value + _ABOVE for value in named)]


def _versions(named: Sequence[str]) -> list[str]:
    """Give the versions that are named, one below, above and between them, and one that is no number."""
    return ["0", _ABOVE, *named, *(value + _NEWER for value in named)]
