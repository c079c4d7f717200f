"""Where requests wait for their turn: the limits that a client and its clones share. Imports floors 0 and 1."""

import asyncio
import contextlib
import math
import time
from collections import deque
from collections.abc import Iterator
from typing import Final

from .limits import Adaptive, Limits, TokenBucket, Verdict

__all__ = ["Gate"]

_BURST: Final = 0.02
"""Seconds of quiet that may be made up for: a timer fires late, and what it missed must not be lost."""


class Gate:
    """Lets requests pass in the order in which they came, as fast as the limits allow.

    Args:
        limits: what its owner has set.
        ceiling: requests in flight at most while the limits are being found out, the connections of the pool.

    Attributes:
        in_flight: requests that have passed and not come back.
    """

    __slots__ = ("_adapting", "_adaptive", "_bucket", "_cap", "_limits", "_timer", "_waiting", "in_flight")

    def __init__(self, limits: Limits, ceiling: int) -> None:
        self._limits = limits
        self._cap: float = limits.in_flight or math.inf
        rate = limits.rate or math.inf
        self._bucket = TokenBucket(rate, burst=_burst(rate))
        self._adaptive = Adaptive(min(ceiling, limits.in_flight or ceiling))
        self._adapting = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self.in_flight = 0

    @property
    def limit(self) -> float:
        """Requests that may be in flight now."""
        return self._cap

    def pause_left(self) -> float:
        """Seconds for which the service has asked to see no requests."""
        return self._bucket.pause_left(time.monotonic())

    def enter_now(self) -> float | None:
        """Pass, if nobody waits and the limits allow it; return the time, as `enter` does."""
        now = time.monotonic()
        if self._waiting or self.in_flight >= self._cap or self._bucket.delay(now):
            return None
        self._bucket.take()
        self.in_flight += 1
        return now

    async def enter(self) -> float:
        """Wait for a turn, and return when it came, which `leave` wants to know."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._admit()
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # the turn had come at the same moment
                self.in_flight -= 1
                self._bucket.give_back()
            self._admit()
            raise
        return time.monotonic()

    def leave(self, verdict: Verdict, entered: float, retry_after: float | None) -> None:
        """Make room, and take note of how it went.

        Args:
            verdict: what the reply says about the load on the service.
            entered: what `enter` returned.
            retry_after: seconds for which the service wants to see no requests.
        """
        now = time.monotonic()
        if self._adapting:
            self._adaptive.reply(verdict, sent=entered, now=now, in_flight=self.in_flight)
            self._follow(now)
        self.in_flight -= 1
        if retry_after is not None and verdict is Verdict.THROTTLED:
            self._bucket.pause(now + retry_after)
        if self._waiting:
            self._admit()

    @contextlib.contextmanager
    def adapting(self) -> Iterator[None]:
        """Find the limits out while the body runs, within the ones that were set."""
        self._adapting += 1
        self._follow(time.monotonic())
        try:
            yield
        finally:
            self._adapting -= 1
            self._follow(time.monotonic())
            self._admit()

    def open(self) -> None:
        """Let everybody pass, as the client is closed, which they will notice."""
        while self._drop_the_gone():
            self._pass()

    def _follow(self, now: float) -> None:
        """Take over the limits that apply now."""
        rate = self._limits.rate or math.inf
        self._cap = self._limits.in_flight or math.inf
        if self._adapting:
            rate = min(rate, self._adaptive.rate)
            self._cap = int(self._adaptive.limit)
        if rate != self._bucket.rate:
            self._bucket.change(now, rate, _burst(rate))

    def _admit(self) -> None:
        """Let those pass whose turn it is, and come back when it is the next one's."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._drop_the_gone() and self.in_flight < self._cap:
            delay = self._bucket.delay(time.monotonic())
            if delay:
                self._timer = self._waiting[0].get_loop().call_later(delay, self._admit)
                return
            self._bucket.take()
            self._pass()

    def _drop_the_gone(self) -> bool:
        """Drop those at the head who do not wait any more; true if somebody still does."""
        while self._waiting and (self._waiting[0].cancelled() or self._waiting[0].get_loop().is_closed()):
            self._waiting.popleft()
        return bool(self._waiting)

    def _pass(self) -> None:
        self._waiting.popleft().set_result(None)
        self.in_flight += 1


def _burst(rate: float) -> float:
    return max(1.0, rate * _BURST)
