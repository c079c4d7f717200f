"""The deadlines of attempts: one timer ends all whose time is over."""

import asyncio
import contextlib
import math
import time
from collections.abc import Iterator
from typing import Any, Final

from ..errors import ClientStateError

__all__ = ["Deadline", "Deadlines"]

_GRAIN: Final = 0.02
"""Seconds between two looks at the deadlines."""


class Deadline:
    """One running attempt: its task, and when its time is over.

    Attributes:
        closed: whether it ended because the client was closed, and not for its time.
        was_put_off: whether it is about standing still rather than about the whole attempt.
    """

    __slots__ = ("_paused", "_seconds", "cancelled", "cancelling", "closed", "due", "task", "was_put_off")

    def __init__(self, task: "asyncio.Task[Any]", seconds: float | None, now: float) -> None:
        self.task = task
        self._seconds = math.inf if seconds is None else seconds
        self.due = now + self._seconds
        self.cancelling = task.cancelling()
        self.cancelled = self.closed = self.was_put_off = self._paused = False

    def put_off(self) -> None:
        """Begin anew, as something has moved."""
        self.due = time.monotonic() + self._seconds
        self.was_put_off = True

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Take no time away while it is not the network that is waited for."""
        self._paused = True
        try:
            yield
        finally:
            self._paused = False
            self.put_off()

    def expire(self, now: float) -> None:
        """Cancel the task, as its time is over; while it is paused, look again later."""
        if self._paused:
            self.due = now + self._seconds
        else:
            self._cancel()

    def close(self) -> None:
        """Cancel the task, as its client is closed."""
        if not self.cancelled:
            self.closed = True
            self._cancel()

    def _cancel(self) -> None:
        self.cancelled = True
        self.task.cancel()

    def is_cancelled(self) -> bool:
        """Whether somebody else has asked the task to end since the attempt began."""
        return self.task.cancelling() > self.cancelling + self.cancelled

    def uncancel(self) -> bool:
        """Take the cancellation back, as `asyncio.timeout` does; true if there was one, and nobody else's beside it."""
        if not self.cancelled:
            return False
        self.cancelled = False
        return self.task.uncancel() <= self.cancelling


class Deadlines:
    """Cancels attempts whose time is over, with one timer for all of them.

    A timer is set only for the earliest deadline that is known when it is needed; the entries that came and went
    meanwhile cost nothing.
    """

    __slots__ = ("_entries", "_handle", "_loop", "_next")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._entries: set[Deadline] = set()
        self._handle: asyncio.TimerHandle | None = None
        self._next = math.inf

    def start(self, seconds: float | None, now: float) -> Deadline:
        """Begin an attempt of the current task that may take *seconds* from *now*, as `time.monotonic` says.

        Raises:
            ClientStateError: there is no task that could be cancelled.
        """
        task = asyncio.current_task()
        if task is None:
            raise ClientStateError("a call needs a running task; use it inside a coroutine")
        entry = Deadline(task, seconds, now)
        self._entries.add(entry)
        if entry.due < self._next:
            self._set(entry.due, now)
        return entry

    def stop(self, entry: Deadline) -> None:
        """End an attempt; a cancellation that came from here is taken back."""
        self._entries.discard(entry)
        if entry.cancelled:
            entry.uncancel()

    def close(self) -> None:
        """End the attempts that are under way, unless their loop has ended or is another thread's."""
        if self._loop is asyncio.get_running_loop():
            current = asyncio.current_task()
            for entry in self._entries:
                if entry.task is not current:  # a middleware may close the client: it must come to the end of that
                    entry.close()
        if self._handle is not None and not self._entries:
            self._handle.cancel()
            self._handle, self._next = None, math.inf

    def _set(self, due: float, now: float) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._next = due
        self._handle = self._loop.call_later(due - now, self._sweep)

    def _sweep(self) -> None:
        now = time.monotonic()
        for entry in self._entries:
            if entry.due <= now and not entry.cancelled:
                entry.expire(now)
        self._handle, self._next = None, math.inf
        earliest = min((entry.due for entry in self._entries if not entry.cancelled), default=math.inf)
        if earliest < math.inf:
            # Not more often than that: where many calls run out of time, each look at all of them adds up.
            self._set(max(earliest, now + _GRAIN), now)
