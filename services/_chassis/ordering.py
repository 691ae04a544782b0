"""Orders of lists (AIP-132): one field, perhaps descending."""

import re
from collections.abc import Collection
from dataclasses import dataclass

from services._chassis.errors import Problem


@dataclass(frozen=True, slots=True)
class Order:
    """Say by which field a list is sorted."""

    by: str
    descending: bool = False


def read_order(order_by: str, known: Collection[str]) -> Order | Problem | None:
    """Read an order by one of the `known` fields, or say what is wrong with it; None where nothing is asked."""
    words = [(found[0], found.start() + 1) for found in re.finditer(r"\S+", order_by)]
    if not words:
        return None
    (first, at), *rest = words
    if not known:
        return Problem("order_by", "must be empty: this list has one order")
    if first not in known:
        return Problem("order_by", f'"{first}" is no order; known are {", ".join(known)} (position {at})')
    if not rest:
        return Order(first)
    (second, at), *more = rest
    if second != "desc" or more:
        at = more[0][1] if second == "desc" else at
        return Problem("order_by", f"{first} is followed by desc or by nothing (position {at})")
    return Order(first, descending=True)
