"""Iteration over the pages of a find."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator
from typing import Any, TypeVar

import orjson

from ..errors import PagingError
from ..models import Cursor, Page
from ..transport.tasks import settle

__all__ = ["Paged"]

T = TypeVar("T")

Fetch = Callable[[dict[str, Cursor]], Coroutine[Any, Any, Page[T]]]


class Paged(Coroutine[Any, Any, Page[T]]):
    """The result of a find, asked for when it is used.

    ::

        page = await client.device.find()                 # the first page
        async for device in client.device.find(): ...     # every record of every page
        async for page in client.device.find().pages(): ...

    It is a coroutine as well, so that `asyncio.create_task` and the like take it for the first page. Each use makes
    requests of its own.

    Iteration requests the next page while the present one is being used. ``break`` stops early and cancels a
    request that is under way.
    """

    __slots__ = ("_backward", "_fetch", "_operation", "_start", "_steps")

    def __init__(self, operation: str, fetch: Fetch[T], *, next: Cursor | None, prev: Cursor | None) -> None:
        self._operation = operation
        self._fetch = fetch
        self._backward = prev is not None and next is None
        self._start = {name: cursor for name, cursor in (("next", next), ("prev", prev)) if cursor is not None}
        self._steps: dict[asyncio.Task[Any] | None, Coroutine[Any, Any, Page[T]]] = {}
        """The first page of each task that was made of this, as only their steps tell them apart."""

    @property
    def __name__(self) -> str:
        """What a task that is made of this shows."""
        return self._operation

    def __repr__(self) -> str:
        return f"<Paged {self._operation}>"

    def __await__(self) -> Generator[Any, None, Page[T]]:
        return self._fetch(self._start).__await__()

    def send(self, value: Any) -> Any:
        """Go on with the first page, as a task does that was made of this."""
        return self._go_on(lambda first: first.send(value))

    def throw(self, *error: Any) -> Any:
        """Raise an error where the first page is waited for, as a task does that is cancelled."""
        return self._go_on(lambda first: first.throw(*error))

    def close(self) -> None:
        """Give the first page up, where a task was made of this and does not go on."""
        while self._steps:
            self._steps.popitem()[1].close()

    def _go_on(self, step: Callable[[Coroutine[Any, Any, Page[T]]], Any]) -> Any:
        task = asyncio.current_task()
        first = self._steps.get(task)
        if first is None:
            first = self._steps[task] = self._fetch(self._start)
        try:
            return step(first)
        except BaseException:  # StopIteration among them, which has the page
            self._steps.pop(task, None)
            raise

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
