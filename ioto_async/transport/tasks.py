"""Waiting for tasks and threads although the caller is cancelled."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["in_thread", "settle"]

T = TypeVar("T")


async def in_thread(function: Callable[..., T], *args: object) -> T:
    """As `asyncio.to_thread`, but a cancelled caller waits for the thread: the file it works on is about to close."""
    future = asyncio.get_running_loop().run_in_executor(None, function, *args)
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait((future,))
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is None:
        return future.result()
    if not future.cancelled():
        future.exception()  # has been looked at
    raise cancelled


async def settle(task: "asyncio.Task[Any]") -> None:
    """End *task* if it still runs, so that neither it nor its error is left behind."""
    task.cancel()
    await asyncio.wait((task,))
    if not task.cancelled():
        task.exception()
