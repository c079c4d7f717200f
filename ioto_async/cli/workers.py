"""Many calls at once, a bounded number of them. Standard library only."""

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable
from typing import TypeVar

__all__ = ["for_each"]

T = TypeVar("T")


async def for_each(call: Callable[[T], Awaitable[None]], items: AsyncIterable[T], concurrency: int) -> None:
    """Await *call* for every item, *concurrency* at a time; items are taken as there is room for them.

    The first exception ends everything: the other calls are cancelled and it is raised as it is.
    """
    source = aiter(items)
    lock = asyncio.Lock()  # an async generator has one reader at a time

    async def worker() -> None:
        while True:
            async with lock:
                try:
                    item = await anext(source)
                except StopAsyncIteration:
                    return
            await call(item)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(worker())
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
