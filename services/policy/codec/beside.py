"""Read long requests beside the streams: a thread does it, since one of megabytes takes seconds."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from google.protobuf.message import Message

LONG = 64 * 1024
"""Bytes of a request that take a while to read."""

Request = TypeVar("Request", bound=Message)
Read = TypeVar("Read")


async def read_beside(read: Callable[[Request], Read], request: Request) -> Read:
    """Return what is read of a request."""
    return await asyncio.to_thread(read, request) if request.ByteSize() > LONG else read(request)
