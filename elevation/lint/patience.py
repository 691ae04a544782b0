"""How long lint goes on: whoever asks may give up, and is asked before each piece of work that takes long.

Patterns, filters and many rules together can be made to take hours to compare; each single comparison is bounded.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeAlias

GivenUp: TypeAlias = Callable[[], bool]
"""Tells whether whoever asked waits no more."""


class GaveUpError(Exception):
    """Nobody waits for the findings any more."""


def never() -> bool:
    """Wait for ever."""
    return False


_given_up: ContextVar[GivenUp] = ContextVar("given_up", default=never)


@contextmanager
def waiting(given_up: GivenUp) -> Iterator[None]:
    """Work within the block for somebody who may give up."""
    token = _given_up.set(given_up)
    try:
        yield
    finally:
        _given_up.reset(token)


def go_on() -> None:
    """Raise GaveUpError if nobody waits any more."""
    if _given_up.get()():
        raise GaveUpError
