"""What the calls for one item of a bulk run have sent: noted by the transport, read by the engine."""

import asyncio
import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any, Final

__all__ = ["TALLY", "Tally", "waiting"]


class Tally:
    """What the calls for one item have sent.

    Args:
        task: whose calls they are.

    Attributes:
        again: requests that were sent again.
        is_used: whether there was a call at all.
        has_acted: whether one has changed something, or may have.
        in_doubt: whether one may have.
        waiting: calls that are not on the wire: they wait for their turn, or before they are sent again.
        on_wire: calls that are.
        is_withdrawn: whether no call is to wait any more, as the run ends.
        was_withdrawn: whether a call has ended for that.
    """

    __slots__ = (
        "_task",
        "again",
        "has_acted",
        "in_doubt",
        "is_used",
        "is_withdrawn",
        "on_wire",
        "waiting",
        "was_withdrawn",
    )

    def __init__(self, task: "asyncio.Task[Any]") -> None:
        self._task = task
        self.is_withdrawn = False
        self.reset()

    def reset(self) -> None:
        """Begin with another item."""
        self.again = self.waiting = self.on_wire = 0
        self.is_used = self.has_acted = self.in_doubt = self.was_withdrawn = False

    @property
    def did_nothing(self) -> bool:
        """Whether the calls until now have changed nothing, for sure."""
        return self.is_used and not self.has_acted

    def withdraw(self) -> None:
        """Let no call wait any more; those on the wire come to their end first."""
        self.is_withdrawn = True
        if self.waiting and not self.on_wire and self._task is not asyncio.current_task():
            self.was_withdrawn = True
            self._task.cancel()

    def left_wire(self) -> None:
        """Note that a call has had its reply, or will have none."""
        self.on_wire -= 1
        if self.is_withdrawn:
            self.withdraw()


TALLY: Final[ContextVar[Tally | None]] = ContextVar("ioto_async_tally", default=None)
"""Where the calls of the present task are noted, if they are part of a bulk run."""


@contextlib.contextmanager
def waiting(tally: Tally | None) -> Iterator[None]:
    """Note that a call waits while the body runs.

    Raises:
        asyncio.CancelledError: it is not to wait.
    """
    if tally is None:
        yield
        return
    tally.is_used = True
    if tally.is_withdrawn:
        tally.was_withdrawn = True
        raise asyncio.CancelledError
    tally.waiting += 1
    try:
        yield
    finally:
        tally.waiting -= 1
