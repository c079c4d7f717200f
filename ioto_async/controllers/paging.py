"""Iteration over the pages of a find."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar

import orjson

from ..errors import PagingError
from ..models import Cursor, Page
from ..transport.tasks import settle

__all__ = ["Paged"]

T = TypeVar("T")

Fetch = Callable[[dict[str, Cursor]], Coroutine[Any, Any, Page[T]]]


class Paged(Generic[T]):
    """The result of a find, asked for when it is used.

    ::

        page = await client.device.find()                 # the first page
        async for device in client.device.find(): ...     # every record of every page
        async for page in client.device.find().pages(): ...

    Iteration requests the next page while the present one is being used. ``break`` stops early and cancels a
    request that is under way.
    """

    __slots__ = ("_backward", "_fetch", "_operation", "_start")

    def __init__(self, operation: str, fetch: Fetch[T], *, next: Cursor | None, prev: Cursor | None) -> None:
        self._operation = operation
        self._fetch = fetch
        self._backward = prev is not None and next is None
        self._start = {name: cursor for name, cursor in (("next", next), ("prev", prev)) if cursor is not None}

    def __await__(self) -> Generator[Any, None, Page[T]]:
        return self._fetch(self._start).__await__()

    async def __aiter__(self) -> AsyncIterator[T]:
        async with contextlib.aclosing(self.pages()) as pages:
            async for page in pages:
                for item in page.items:
                    yield item

    async def pages(self) -> AsyncGenerator[Page[T], None]:
        """Yield page after page: forward, or backward if the find was given ``prev`` alone.

        Raises:
            PagingError: the service repeated a cursor.
        """
        direction = "prev" if self._backward else "next"
        seen = {_key(cursor) for cursor in self._start.values()}
        page = await self
        while (cursor := page.prev if self._backward else page.next) is not None:
            if _key(cursor) in seen:
                yield page
                message = f"the service sent the same cursor ({direction}) again"
                raise PagingError(message, operation=self._operation, status=200)
            seen.add(_key(cursor))
            ahead = asyncio.create_task(self._fetch({direction: cursor}))
            try:
                yield page
                page = await ahead
            finally:
                await settle(ahead)
        yield page


def _key(cursor: Cursor) -> bytes:
    # Fixed size, as iteration over a large table remembers every one of them.
    return hashlib.blake2b(orjson.dumps(cursor, option=orjson.OPT_SORT_KEYS), digest_size=16).digest()
