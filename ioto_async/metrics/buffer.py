"""Room for samples: how much there is, and who waits for it."""

import asyncio
from collections.abc import Callable

from .sample import BufferFullError

__all__ = ["Room"]


class Room:
    """A bounded place. Who finds no room waits in turn, and is refused when nothing has moved for too long.

    Args:
        capacity: samples that it has room for.
        capacity_bytes: bytes that they may have; a larger sample has room when it is alone.
        patience: seconds for which it may be full.

    Attributes:
        samples: how many there are.
        bytes: how large they are.
        cause: why the service takes none, if that is known.
    """

    __slots__ = (
        "_capacity",
        "_capacity_bytes",
        "_patience",
        "_since",
        "_timer",
        "_waiting",
        "bytes",
        "cause",
        "samples",
    )

    def __init__(self, capacity: int, capacity_bytes: int, patience: float) -> None:
        self._capacity = capacity
        self._capacity_bytes = capacity_bytes
        self._patience = patience
        self._waiting: dict[asyncio.Future[None], int] = {}
        """Those who wait, in their order, and the size that each wants room for."""
        self._timer: asyncio.TimerHandle | None = None
        self._since: float | None = None
        """Since when nothing has moved though somebody wanted room; None if nobody does."""
        self.samples = self.bytes = 0
        self.cause: Exception | None = None

    def take_now(self, size: int) -> bool:
        """Take room for a sample of *size* bytes, if there is some and nobody waits for it."""
        if self._waiting or not self._fits(size):
            return False
        self.samples += 1
        self.bytes += size
        return True

    async def take(self, size: int) -> None:
        """Wait for room for a sample of *size* bytes, and take it.

        Raises:
            BufferFullError: there was none for too long.
        """
        loop = asyncio.get_running_loop()
        if self._since is None:
            self._since = loop.time()
        due = self._since + self._patience
        if due < loop.time():
            raise self._refusal()
        turn = loop.create_future()
        self._waiting[turn] = size
        if self._timer is None:
            self._timer = loop.call_at(due, self._refuse)
        try:
            await turn
        except asyncio.CancelledError:
            if self._waiting.pop(turn, None) is None and not turn.cancelled() and turn.exception() is None:
                self.give(1, size)  # the turn had come at the same moment
            else:
                self._admit()  # a smaller one behind it may fit
            raise

    def give(self, count: int, size: int) -> None:
        """Make room, as *count* samples of *size* bytes together have come to their end."""
        self.samples -= count
        self.bytes -= size
        if self._waiting:
            self._since = asyncio.get_running_loop().time()
        self._admit()

    def close(self, refusal: Callable[[], Exception]) -> None:
        """Refuse those who wait, each with a *refusal* of its own."""
        self._stop_timer()
        self._refuse_all(refusal)

    def _fits(self, size: int) -> bool:
        return not self.samples or (self.samples < self._capacity and self.bytes + size <= self._capacity_bytes)

    def _admit(self) -> None:
        """Let those in whose turn it is."""
        while self._waiting:
            turn, size = next(iter(self._waiting.items()))
            if not turn.done():
                if not self._fits(size):
                    return
                self.samples += 1
                self.bytes += size
                turn.set_result(None)
            del self._waiting[turn]
        self._since = None
        self._stop_timer()

    def _refuse(self) -> None:
        """Refuse all who wait, unless something has moved meanwhile."""
        self._timer = None
        loop = asyncio.get_running_loop()
        if self._since is not None and self._since + self._patience > loop.time():
            self._timer = loop.call_at(self._since + self._patience, self._refuse)
            return
        self._refuse_all(self._refusal)

    def _refuse_all(self, refusal: Callable[[], Exception]) -> None:
        waiting, self._waiting = self._waiting, {}
        for turn in waiting:
            if not turn.done():
                turn.set_exception(refusal())

    def _refusal(self) -> BufferFullError:
        text = f"write: refused, and not accepted: for {self._patience:g} s there was no room in the buffer, which has"
        error = BufferFullError(
            f"{text} {self.samples} samples of {self.bytes} bytes" + (f"; last: {self.cause}" if self.cause else ""),
            samples=self.samples,
            bytes=self.bytes,
        )
        error.__cause__ = self.cause
        return error

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
