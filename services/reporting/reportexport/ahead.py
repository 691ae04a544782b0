"""Read one thing further while another is worked on."""

import asyncio
from collections.abc import AsyncGenerator
from typing import TypeVar

Item = TypeVar("Item")


async def ahead(items: AsyncGenerator[Item, None]) -> AsyncGenerator[Item, None]:
    """Give the same, and read one further meanwhile."""
    coming = asyncio.ensure_future(anext(items, None))
    try:
        while (item := await coming) is not None:
            coming = asyncio.ensure_future(anext(items, None))
            yield item
    finally:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)
