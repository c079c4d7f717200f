"""Waiting although the caller is cancelled, and waiting for one's turn."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Collection
from typing import Any, Generic, TypeVar

__all__ = ["Turns", "ended", "in_thread", "settle"]

T = TypeVar("T")
Want = TypeVar("Want")


async def ended(futures: "Collection[asyncio.Future[Any]]") -> None:
    """Wait until all of *futures* have ended, although the caller is cancelled, which comes out at the end.

    What is added to *futures* meanwhile is waited for as well.

    Raises:
        asyncio.CancelledError: the caller was cancelled.
    """
    cancelled: asyncio.CancelledError | None = None
    while running := [future for future in futures if not future.done()]:
        try:
            await asyncio.wait(running)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled


async def in_thread(function: Callable[..., T], *args: object) -> T:
    """As `asyncio.to_thread`, but a cancelled caller waits for the thread: the file it works on is about to close."""
    future = asyncio.get_running_loop().run_in_executor(None, function, *args)
    try:
        await ended((future,))
    except asyncio.CancelledError:
        if not future.cancelled():
            future.exception()  # has been looked at
        raise
    return future.result()


async def settle(task: "asyncio.Task[Any]") -> None:
    """End *task* if it still runs, so that neither it nor its error is left behind."""
    task.cancel()
    await ended((task,))
    if not task.cancelled():
        task.exception()


class Turns(Generic[Want]):
    """A queue of those who wait for their turn, each with what it wants.

    Args:
        admit: called when it may be somebody's turn: gives turns with `grant` to the `first`, as far as there is room.
        give_back: called with what a caller wanted who was cancelled at the moment at which its turn had come.

    Attributes:
        queue: those who wait, and what each wants, for whoever only wants to know whether it is empty.
    """

    __slots__ = ("_admit", "_give_back", "queue")

    def __init__(self, admit: Callable[[], None], give_back: Callable[[Want], None]) -> None:
        self._admit = admit
        self._give_back = give_back
        # Ordered by links: of a plain dict, the first is hard to find after many have gone.
        self.queue: OrderedDict[asyncio.Future[None], Want] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self.queue)

    def __len__(self) -> int:
        return len(self.queue)

    async def wait(self, want: Want) -> None:
        """Wait for a turn.

        Raises:
            Exception: the turn was refused.
        """
        turn = asyncio.get_running_loop().create_future()
        self.queue[turn] = want
        self._admit()
        try:
            await turn
        except asyncio.CancelledError:
            if turn in self.queue:
                del self.queue[turn]
            elif not turn.cancelled() and turn.exception() is None:
                self._give_back(want)  # the turn had come at the same moment
            self._admit()  # whoever is behind may have room
            raise

    def first(self) -> Want | None:
        """What the first in the queue wants; None if nobody waits."""
        while self.queue:
            turn = next(iter(self.queue))
            if not turn.cancelled():
                return self.queue[turn]
            del self.queue[turn]
        return None

    def grant(self) -> None:
        """Give the first in the queue its turn."""
        turn, _ = self.queue.popitem(last=False)
        turn.set_result(None)

    def refuse(self, error: Callable[[], Exception], wants: Callable[[Want], bool] = lambda _: True) -> None:
        """Refuse all whose wish *wants* picks, each with an *error* of its own."""
        for turn in [turn for turn, want in self.queue.items() if wants(want)]:
            del self.queue[turn]
            if not turn.done():
                turn.set_exception(error())

    def clear(self) -> None:
        """Forget all, as their loop has ended."""
        self.queue.clear()
