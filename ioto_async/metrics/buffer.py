"""The buffer of a writer: bounded, and due to be sent by number, size or age."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

import attrs

from ..transport.tasks import Turns
from .sample import BufferFullError, Sample

__all__ = ["Batch", "Buffer"]

_LARGEST: Final = 1000
"""Samples of a batch, if it does not take more for it to be due."""


@attrs.define(eq=False)
class Batch:
    """Samples that were due at one time."""

    samples: list[Sample] = attrs.field(factory=list)
    size: int = 0
    """Bytes of them."""
    left: int = 0
    """Samples that have no outcome yet."""
    ended: asyncio.Event = attrs.field(factory=asyncio.Event)

    def take(self) -> list[Sample]:
        """Give the samples away, so that each is kept no longer than it takes to send it."""
        samples, self.samples = self.samples, []
        return samples


class Buffer:
    """Samples that wait to be sent. Its bounds count those on their way as well, until they are released.

    Whoever finds it full waits in turn, and is refused when nothing has been released for too long.

    Args:
        count: samples after which it is due.
        bytes: bytes of them after which it is due.
        seconds: age of the oldest at which it is due.
        capacity: samples that are held at most.
        capacity_bytes: bytes of them that are held at most; a larger sample is held when it is alone.
        patience: seconds for which it may be full.
        cause: tells why the service takes nothing, None where it does.

    Attributes:
        held: samples in it, and on their way.
        held_bytes: how large these are.
    """

    def __init__(
        self,
        *,
        count: int,
        bytes: int,
        seconds: float,
        capacity: int,
        capacity_bytes: int,
        patience: float,
        cause: Callable[[], Exception | None],
    ) -> None:
        self._count = count
        self._largest = max(count, _LARGEST)
        self._bytes = bytes
        self._seconds = seconds
        self._capacity = capacity
        self._capacity_bytes = capacity_bytes
        self._patience = patience
        self._cause = cause
        self._is_closed = False
        self._open = Batch()
        """What is not due."""
        self._due: deque[Batch] = deque()
        self._unfinished: dict[Batch, None] = {}
        """Batches with samples that have no outcome, oldest first."""
        self._is_due = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._turns = Turns[int](self._admit, self._give_back)
        """Those who wait for room, and the bytes that each wants."""
        self._refusing: asyncio.TimerHandle | None = None
        self._full_since: float | None = None
        """Since when nothing was released though somebody waits; seconds of the loop's clock."""
        self.held = self.held_bytes = 0

    # What comes in ---------------------------------------------------------------------------------------------------

    def reserve_now(self, size: int) -> bool:
        """Make room for a sample of *size* bytes, if there is some and nobody waits for it."""
        if self._turns.queue or not self._has_room(size):
            return False
        self.held += 1
        self.held_bytes += size
        return True

    async def reserve(self, size: int) -> None:
        """Wait for room for a sample of *size* bytes.

        Raises:
            BufferFullError: nothing was released for too long.
        """
        loop = asyncio.get_running_loop()
        if self._full_since is None:
            self._full_since = loop.time()
        due = self._full_since + self._patience
        if due < loop.time():
            raise self._refusal()
        if self._refusing is None:
            self._refusing = loop.call_at(due, self._refuse)
        self.make_due()
        await self._turns.wait(size)

    def release(self, count: int, size: int) -> None:
        """Make room, as *count* samples of *size* bytes together are not held any more."""
        self.held -= count
        self.held_bytes -= size
        if self._turns.queue:
            self._full_since = asyncio.get_running_loop().time()
        if self._full_since is not None:
            self._admit()

    def append(self, sample: Sample) -> None:
        """Put in a sample for which there is room."""
        batch = self._open
        batch.samples.append(sample)
        batch.size += sample.size
        if len(batch.samples) >= self._largest:
            self.make_due()
        elif len(batch.samples) >= self._count or batch.size >= self._bytes:
            self._is_due.set()  # what comes until it is taken travels with it
        elif len(batch.samples) == 1:
            self._timer = asyncio.get_running_loop().call_later(self._seconds, self.make_due)

    def _has_room(self, size: int) -> bool:
        return not self.held or (self.held < self._capacity and self.held_bytes + size <= self._capacity_bytes)

    def _admit(self) -> None:
        while (size := self._turns.first()) is not None:
            if not self._has_room(size):
                return
            self.held += 1
            self.held_bytes += size
            self._turns.grant()
        self._full_since = None
        if self._refusing is not None:
            self._refusing.cancel()
            self._refusing = None

    def _give_back(self, size: int) -> None:
        self.release(1, size)

    def _refuse(self) -> None:
        """Refuse all who wait, unless something was released meanwhile."""
        self._refusing = None
        loop = asyncio.get_running_loop()
        if self._full_since is not None and self._full_since + self._patience > loop.time():
            self._refusing = loop.call_at(self._full_since + self._patience, self._refuse)
            return
        self._turns.refuse(self._refusal)

    def _refusal(self) -> BufferFullError:
        cause = self._cause()
        text = f"write: refused, and not accepted: for {self._patience:g} s there was no room in the buffer, which has"
        error = BufferFullError(
            f"{text} {self.held} samples of {self.held_bytes} bytes" + (f"; last: {cause}" if cause else ""),
            samples=self.held,
            bytes=self.held_bytes,
        )
        error.__cause__ = cause
        return error

    # What goes out ---------------------------------------------------------------------------------------------------

    def make_due(self) -> None:
        """Have what is in it sent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        batch = self._open
        if batch.samples:
            batch.left = len(batch.samples)
            self._open = Batch()
            self._due.append(batch)
            self._unfinished[batch] = None
            self._is_due.set()

    async def next_batch(self) -> Batch | None:
        """Wait for the next batch; None if there will be none."""
        await self._is_due.wait()
        return self.next_batch_now()

    def next_batch_now(self) -> Batch | None:
        """The next batch; None if there is none."""
        if not self._due and self._is_due.is_set():
            self.make_due()
        batch = self._due.popleft() if self._due else None
        if not self._due and not self._is_closed:
            self._is_due.clear()
        return batch

    def end(self, batch: Batch, count: int, size: int) -> None:
        """Take out *count* samples of a *batch*, of *size* bytes together, which have their outcome."""
        batch.left -= count
        if not batch.left:
            del self._unfinished[batch]
            batch.ended.set()
        self.release(count, size)

    async def ended(self) -> None:
        """Wait until all samples that are in it, or on their way, have their outcome."""
        self.make_due()
        for batch in list(self._unfinished):
            await batch.ended.wait()

    def close(self, refusal: Callable[[], Exception]) -> None:
        """Have what is in it sent, and nothing else; who waits for room is refused."""
        self._is_closed = True
        self.make_due()
        self._is_due.set()
        if self._refusing is not None:
            self._refusing.cancel()
            self._refusing = None
        self._turns.refuse(refusal)
