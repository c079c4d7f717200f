"""What the calls for one item have done: noted where requests are sent, read by those who must not repeat them.

The law: *nothing was done* holds only where every step is known to have done nothing. Steps that go through a client or
a device link are noted here; what other code does, nobody knows.
"""

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from types import MethodType, TracebackType
from typing import Any, Final, TypeVar

__all__ = ["EFFECTS", "Effects", "reporting", "reports_effects", "waiting"]

F = TypeVar("F", bound=Callable[..., object])


class Effects:
    """What the calls for one item have done.

    Args:
        task: whose calls they are.

    Attributes:
        retries: requests that were sent again.
        changed: whether a call has changed something, or may have.
        in_doubt: whether one may have, and nobody knows.
        waiting: calls that wait for their turn, or before they are sent again.
        in_flight: calls that wait for their reply.
        is_stopping: whether no call is to wait any more, as the run ends.
        was_stopped: whether a call has ended for that.
    """

    __slots__ = ("_task", "changed", "in_doubt", "in_flight", "is_stopping", "retries", "waiting", "was_stopped")

    def __init__(self, task: "asyncio.Task[Any]") -> None:
        self._task = task
        self.is_stopping = False
        self.reset()

    def reset(self) -> None:
        """Begin with another item."""
        self.retries = self.waiting = self.in_flight = 0
        self.changed = self.in_doubt = self.was_stopped = False

    def doubt(self) -> None:
        """Note that something may have been changed."""
        self.changed = self.in_doubt = True

    def stop_waiting(self) -> None:
        """Let no call wait any more; those in flight come to their end first."""
        self.is_stopping = True
        if self.waiting and not self.in_flight and self._task is not asyncio.current_task():
            self.was_stopped = True
            self._task.cancel()

    def landed(self) -> None:
        """Note that a call in flight has had its reply, or will have none."""
        self.in_flight -= 1
        if self.is_stopping:
            self.stop_waiting()


EFFECTS: Final[ContextVar[Effects | None]] = ContextVar("ioto_async_effects", default=None)
"""Where the calls of the present task are noted, if they are part of a bulk run."""


class waiting:  # noqa: N801  a statement, as `asyncio.timeout` is
    """Note in the body of a ``with`` statement that a call waits.

    Args:
        effects: where; None for a call that is not noted.

    Raises:
        asyncio.CancelledError: it is not to wait.
    """

    __slots__ = ("_effects",)

    def __init__(self, effects: Effects | None) -> None:
        self._effects = effects

    def __enter__(self) -> None:
        effects = self._effects
        if effects is None:
            return
        if effects.is_stopping:
            effects.was_stopped = True
            raise asyncio.CancelledError
        effects.waiting += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._effects is not None:
            self._effects.waiting -= 1


_REPORTING: Final = "__reports_effects__"


def reporting(method: F) -> F:
    """Mark a *method* all of whose steps are noted in `EFFECTS`."""
    setattr(method, _REPORTING, True)
    return method


def reports_effects(call: Callable[..., object]) -> bool:
    """Whether *call* is the bound method of a client or a device link, `functools.partial` included."""
    while isinstance(call, partial):
        call = call.func
    return isinstance(call, MethodType) and getattr(call, _REPORTING, False) is True
