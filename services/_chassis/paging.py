"""Pages of a list: sizes, and opaque tokens that belong to one question."""

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, takewhile
from typing import Generic, Self, TypeVar

from services._chassis.errors import InvalidError, Problem

DEFAULT_SIZE = 50
LARGEST_SIZE = 1000
LONGEST_TOKEN = 64 * 1024
LARGEST_NUMBER = 2**63 - 1
LARGEST_PAGE = 3 * 1024 * 1024
"""Bytes of objects on one page; with what is written beside it a page stays below the limit on a message."""

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Ask for `size` items after the one whose sort key is `after`; empty for the first page."""

    size: int
    after: tuple[str | int, ...] = ()
    question: str = ""

    def fitting(self, weights: Iterable[int], *, most: int = LARGEST_PAGE) -> Self:
        """Ask for no more of the objects with these weights, in bytes, than one page takes; for one at least."""
        fit = sum(1 for _ in takewhile(lambda total: total <= most, accumulate(weights)))
        return replace(self, size=min(self.size, max(fit, 1)))

    def next_token(self, key: tuple[str | int, ...]) -> str:
        """Return the token that asks for what comes after `key`."""
        # Written as they are: escapes would make the token of long texts longer than one may be.
        text = json.dumps([_fingerprint(self.question), *key], separators=(",", ":"), ensure_ascii=False)
        return base64.urlsafe_b64encode(text.encode(errors="surrogatepass")).decode().rstrip("=")


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Hold one page and the token of the next; an empty token says that this was the last."""

    items: tuple[Item, ...]
    next_token: str = ""


def page_request(
    *,
    page_size: int,
    page_token: str,
    question: str = "",
    shape: tuple[type, ...] = (str,),
    beside: Sequence[Problem] = (),
    may_be: Callable[[tuple[str | int, ...]], bool] = bool,
) -> PageRequest:
    """Read what a List call asks for; `question` is the list's name with its filter and order, `shape` that of its keys.

    Raises InvalidError for a negative size, and for a token that this question never gave: callers can forge them; together
    with what is wrong with the call `beside` that. `may_be` tells which keys of that shape there are, where not all can be.
    """
    after = _after(page_token, question, shape) if page_token else ()
    if after and not may_be(after):
        after = None
    problems = list(beside)
    if page_size < 0:
        problems.append(Problem("page_size", "must not be negative; leave it 0 for the default"))
    if after is None:
        message = "is not a token that this list with this filter gave; start again without it"
        problems.append(Problem("page_token", message))
    if after is None or problems:
        raise InvalidError(problems, reason="PAGE_TOKEN_INVALID" if after is None and not beside else None)
    return PageRequest(min(page_size or DEFAULT_SIZE, LARGEST_SIZE), after, question)


def cut(rows: Sequence[Item], request: PageRequest, *, key: Callable[[Item], tuple[str | int, ...]]) -> Page[Item]:
    """Make a page of rows that were read with a limit of one more than the page's size."""
    items = tuple(rows[: request.size])
    more = len(rows) > request.size
    return Page(items, request.next_token(key(items[-1])) if more else "")


def _after(token: str, question: str, shape: tuple[type, ...]) -> tuple[str | int, ...] | None:
    """Return the key in the token; None if this question did not give it."""
    if len(token) > LONGEST_TOKEN:
        return None
    try:
        text = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        fingerprint, *key = json.loads(text)
    except (binascii.Error, ValueError, TypeError, RecursionError):
        return None
    if fingerprint != _fingerprint(question) or tuple(map(type, key)) != shape or not all(map(_is_storable, key)):
        return None
    return tuple(key)


def _is_storable(part: str | int) -> bool:
    """Tell whether a database can hold the part; what it cannot hold was never the key of anything."""
    if isinstance(part, int):
        return abs(part) <= LARGEST_NUMBER
    return "\0" not in part and part.encode(errors="ignore").decode() == part


def _fingerprint(question: str) -> str:
    return hashlib.sha256(question.encode()).hexdigest()[:12]
