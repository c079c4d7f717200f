"""Where requests wait for their turn: the limits that a client and its clones share."""

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Iterator
from typing import Final

from .limits import Adaptive, Limits, TokenBucket, Verdict
from .tasks import Turns

__all__ = ["Limiter", "PauseError"]

logger = logging.getLogger("ioto_async")

_BURST: Final = 0.02
"""Seconds of quiet that may be made up for: a timer fires late, and what it missed must not be lost."""


class PauseError(Exception):
    """The service has asked for a pause that is longer than somebody would wait; *left* is in seconds."""

    def __init__(self, left: float) -> None:
        super().__init__(f"a pause of {left:g} s")
        self.left = left


class Limiter:
    """Lets requests pass in the order in which they came, as fast as the limits allow.

    Args:
        limits: what its owner has set.
        ceiling: requests in flight at most while the limits are being found out, the connections of the pool.

    Attributes:
        limit: requests that may be in flight now.
        ceiling: see above.
        in_flight: requests that have passed and not come back.
    """

    __slots__ = (
        "_adapting",
        "_adaptive",
        "_bucket",
        "_limits",
        "_running",
        "_since",
        "_timer",
        "_waiting",
        "ceiling",
        "in_flight",
        "limit",
    )

    def __init__(self, limits: Limits, ceiling: int) -> None:
        self._limits = limits
        self.limit: float = limits.in_flight or math.inf
        self.ceiling = min(ceiling, limits.in_flight or ceiling)
        rate = limits.rate or math.inf
        self._bucket = TokenBucket(rate, burst=_burst(rate))
        self._adaptive = Adaptive(self.ceiling)
        self._running = self._adapting = 0
        self._waiting = Turns[float](self._admit, self._give_back)
        """Requests, and how long a pause each would bear."""
        self._timer: asyncio.TimerHandle | None = None
        self._since = -math.inf
        self.in_flight = 0

    @property
    def is_crowded(self) -> bool:
        """Whether a further request would have to wait for others."""
        return bool(self._waiting) or self.in_flight >= self.limit

    def pause_left(self) -> float:
        """Seconds for which the service has asked to see no requests."""
        return self._bucket.pause_left(time.monotonic())

    def enter_now(self) -> float | None:
        """Pass, if nobody waits and the limits allow it; return the time, as `enter` does."""
        now = time.monotonic()
        if self._waiting or self.in_flight >= self.limit or self._bucket.delay(now):
            return None
        self._bucket.take()
        self.in_flight += 1
        return now

    def enter_first(self) -> float:
        """Pass whatever the limits say, as those who are in flight wait for this one; return as `enter` does."""
        self.in_flight += 1
        return time.monotonic()

    async def enter(self, patience: float) -> float:
        """Wait for a turn, and return when it came, which `leave` wants to know.

        Args:
            patience: seconds of a pause that are worth waiting for.

        Raises:
            PauseError: the service has asked for a longer one.
        """
        left = self._bucket.pause_left(time.monotonic())
        if left > patience:
            raise PauseError(left)
        await self._waiting.wait(patience)
        return time.monotonic()

    def leave(self, verdict: Verdict, entered: float, *, of: str, retry_after: float | None) -> None:
        """Make room, and take note of how it went.

        Args:
            verdict: what the reply says about the load on the service.
            entered: what `enter` returned.
            of: what was asked for: latencies of different operations are not compared.
            retry_after: seconds for which the service wants to see no requests.
        """
        if entered < self._since:
            return  # of another loop, whose places are given away
        now = time.monotonic()
        if self._adapting:
            self._adaptive.reply(verdict, of=of, sent=entered, now=now, in_flight=self.in_flight)
            self._follow(now)
        self.in_flight -= 1
        if retry_after is not None and verdict is Verdict.THROTTLED:
            self._pause(now, retry_after)
        if self._waiting:
            self._admit()

    @contextlib.contextmanager
    def running(self, *, adapting: bool) -> Iterator[None]:
        """Let a bulk run have its calls wait here, not for a connection, which would count to their time-outs.

        Args:
            adapting: whether to find the limits out while the body runs, within the ones that were set.
        """
        self._running += 1
        self._adapting += adapting
        self._follow(time.monotonic())
        try:
            yield
        finally:
            self._running -= 1
            self._adapting -= adapting
            self._follow(time.monotonic())
            self._admit()

    def open(self) -> None:
        """Let everybody pass, as the client is closed, which they will notice."""
        while self._waiting.first() is not None:
            self._pass()

    def reset(self) -> None:
        """Begin anew in another loop: nobody who waits or is in flight will come back from the old one."""
        self._waiting.clear()
        self._timer = None
        self.in_flight = 0
        self._since = time.monotonic()

    def _pause(self, now: float, seconds: float) -> None:
        if seconds > self._bucket.pause_left(now):
            logger.info("the service asks for a pause of %g s: all calls wait", seconds)
        self._bucket.pause(now + seconds)
        self._waiting.refuse(lambda: PauseError(seconds), lambda patience: patience < seconds)

    def _follow(self, now: float) -> None:
        """Take over the limits that apply now."""
        rate = self._limits.rate or math.inf
        self.limit = self._limits.in_flight or math.inf
        if self._running:
            self.limit = self.ceiling
        if self._adapting:
            rate = min(rate, self._adaptive.rate)
            self.limit = int(self._adaptive.limit)
        if rate != self._bucket.rate:
            self._bucket.change(now, rate, _burst(rate))

    def _admit(self) -> None:
        """Let those pass whose turn it is, and come back when it is the next one's."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting.first() is not None and self.in_flight < self.limit:
            delay = self._bucket.delay(time.monotonic())
            if delay:
                self._timer = asyncio.get_running_loop().call_later(delay, self._admit)
                return
            self._bucket.take()
            self._pass()

    def _pass(self) -> None:
        self._waiting.grant()
        self.in_flight += 1

    def _give_back(self, patience: float) -> None:
        self.in_flight -= 1
        self._bucket.give_back()


def _burst(rate: float) -> float:
    return max(1.0, rate * _BURST)
