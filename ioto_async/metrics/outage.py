"""Waiting for a service that is away: one request tries, the others wait for what becomes of it."""

import asyncio
import math
import random
import sys
from typing import Final

from ..errors import CallError
from ..operations import Kind
from ..transport.retry import Failure, RetryPolicy
from ..transport.tasks import Turns

__all__ = ["Outage"]

_WAITS: Final = RetryPolicy(attempts=sys.maxsize, elapsed=math.inf)
"""It may be away for any time."""


class Outage:
    """Knows whether a service takes requests.

    Attributes:
        cause: why it takes none, as the last refusal says; None if it does.
        was_reached: whether it has ever taken a request, or refused one for good.
    """

    __slots__ = ("_failures", "_in_flight", "_timer", "_turns", "cause", "was_reached")

    def __init__(self) -> None:
        self._turns = Turns[int](self._admit, self._give_back)
        self._in_flight = 0
        self._failures = 0
        """Refusals one after another."""
        self._timer: asyncio.TimerHandle | None = None
        self.cause: CallError | None = None
        self.was_reached = False

    def enter_now(self) -> bool:
        """Begin a request, if the service takes some."""
        if self._failures or self._turns.queue:
            return False
        self._in_flight += 1
        return True

    async def enter(self) -> None:
        """Wait until the service takes requests, or until this one is to find out, and begin it."""
        await self._turns.wait(1)

    def leave(self) -> None:
        """End a request that was begun, whatever became of it."""
        self._in_flight -= 1
        if self._turns.queue:
            self._admit()

    def answered(self) -> None:
        """Note that the service takes requests."""
        self._failures, self.cause = 0, None
        self.was_reached = True

    def refused(self, error: CallError) -> float | None:
        """Note that the service takes no requests; returns the seconds until the next try, None if that is known."""
        self.cause = error
        if self._timer is not None:  # one that was on its way when it began
            return None
        self._failures += 1
        wait = _WAITS.wait(
            Failure.REFUSED,
            Kind.ONCE,
            attempts=self._failures,
            elapsed=0.0,
            retry_after=error.retry_after,
            random=random.random,
        )
        assert wait is not None  # it may be tried any number of times
        self._timer = asyncio.get_running_loop().call_later(wait, self._resume)
        return wait

    def close(self) -> None:
        """Leave no timer behind."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _resume(self) -> None:
        self._timer = None
        self._admit()

    def _admit(self) -> None:
        while self._turns.first() is not None:
            if self._failures and (self._in_flight or self._timer is not None):
                return
            self._in_flight += 1
            self._turns.grant()

    def _give_back(self, _: int) -> None:
        self._in_flight -= 1
