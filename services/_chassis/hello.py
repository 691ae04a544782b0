"""The hello that begins every stream of a device."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TypeVar

from google.protobuf.message import Message

from services._chassis.errors import InvalidError, Problem

Request = TypeVar("Request", bound=Message)


async def message_with_hello(requests: AsyncIterator[Request], *, patience: float) -> Request:
    """Return the first message of a stream, which carries `hello`; `patience` is in seconds.

    Raises InvalidError where anything else comes first, or nothing in time.
    """
    first: Request | None = None
    with suppress(TimeoutError):
        async with asyncio.timeout(patience):
            first = await anext(requests, None)
    if first is None or first.WhichOneof("message") != "hello":
        raise InvalidError([Problem("hello", "must be the first message of the stream")], reason="HELLO_MISSING")
    return first
