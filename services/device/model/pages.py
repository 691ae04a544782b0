"""Pages that fit into a message: objects here may be large, and so fewer of them are shown at once than were asked for."""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from services._chassis.paging import Page, PageRequest, cut

LARGEST_PAGE = 2 * 1024 * 1024
"""Bytes of objects on one page; with what is written beside them a page stays below the limit on a message."""

_FIXED = 512
_PER_TEXT = 4


class Weighed(Protocol):
    """Know about how many bytes it takes in a message."""

    @property
    def weight(self) -> int:
        """Return the bytes."""
        ...


Item = TypeVar("Item", bound=Weighed)


def weigh(*lists: Sequence[str]) -> int:
    """Return about how many bytes an object with these lists of texts takes in a message."""
    return _FIXED + sum(_PER_TEXT + len(text.encode()) for texts in lists for text in texts)


def fitting_page(items: Sequence[Item], request: PageRequest, *, key: Callable[[Item], tuple[str, ...]]) -> Page[Item]:
    """Make a page of items that were read with one more than its size: as many as fit, and at least one."""
    fitting = request.fitting((item.weight for item in items), most=LARGEST_PAGE)
    return cut(items, fitting, key=key) if items else Page(())
