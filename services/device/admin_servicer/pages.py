"""Pages that fit a message: fewer items than asked for, where they are large."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from google.protobuf.message import Message

from services._chassis.client import MESSAGE_LIMIT
from services._chassis.paging import Page

Item = TypeVar("Item")
Answer = TypeVar("Answer", bound=Message)


async def fitting(
    page_size: int, ask: Callable[[int], Awaitable[Page[Item]]], write: Callable[[Page[Item]], Answer]
) -> Answer:
    """Ask for a page and write it, with half as many items again and again until a client can take it."""
    while True:
        page = await ask(page_size)
        answer = write(page)
        if answer.ByteSize() <= MESSAGE_LIMIT or len(page.items) == 1:
            return answer
        page_size = len(page.items) // 2
