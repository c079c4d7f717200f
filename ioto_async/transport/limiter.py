"""Where requests wait for their turn: the limits that a client and its clones share."""

import asyncio
import contextlib
import math
import time
from collections.abc import Iterator
from typing import Final

from .limits import Adaptive, Limits, TokenBucket, Verdict
from .pauses import Pause, Pauses
from .tasks import Turns

__all__ = ["Limiter"]

_BURST: Final = 0.02
"""Seconds of quiet that may be made up for: a timer fires late, and what it missed must not be lost."""
_UNLIMITED: Final = 256
"""Connections that are of use at once where any number is allowed."""


class Connections:
    """Gives the connections of a pool to calls and transfers, in the order in which they came.

    aiohttp would let them wait as well, but at the cost of their time-outs.

    Args:
        limit: how many may be in use at once; infinity for any number.

    Attributes:
        free: how many are not in use; below 0 while some were taken out of turn.
        waiting: those who wait for one.
    """

    __slots__ = ("free", "waiting")

    def __init__(self, limit: float) -> None:
        self.free = limit
        self.waiting = Turns[bool](self._admit, lambda _: self.give_back())

    async def take(self) -> None:
        """Wait for a connection."""
        if self.free < 1 or self.waiting:
            await self.waiting.wait(True)
        else:
            self.free -= 1

    def give_back(self) -> None:
        """Let the next one have the connection."""
        self.free += 1
        if self.waiting.queue:
            self._admit()

    def open(self) -> None:
        """Let everybody pass, as the client is closed, which they will notice."""
        while self.waiting.first() is not None:
            self._pass()

    def _admit(self) -> None:
        while self.free >= 1 and self.waiting.first() is not None:
            self._pass()

    def _pass(self) -> None:
        self.waiting.grant()
        self.free -= 1


class Limiter:
    """Lets requests pass in the order in which they came, as fast as the limits, pauses and connections allow.

    Args:
        limits: what its owner has set.
        connections: how many the pool has; infinity for any number.

    Attributes:
        connections: those of the pool, which transfers use as well.
        pauses: what origins have asked for.
        limit: requests that may be in flight now.
        ceiling: requests in flight at most while the limits are being found out.
        in_flight: requests that have passed and not come back.
    """

    __slots__ = (
        "_adapting",
        "_adaptive",
        "_bucket",
        "_connections",
        "_limits",
        "_running",
        "_since",
        "_timer",
        "_waiting",
        "ceiling",
        "connections",
        "in_flight",
        "limit",
        "pauses",
    )

    def __init__(self, limits: Limits, connections: float) -> None:
        self._limits = limits
        self._connections = connections
        self.connections = Connections(connections)
        self.pauses = Pauses()
        self.limit: float = limits.in_flight or math.inf
        self.ceiling = int(min(connections, limits.in_flight or _UNLIMITED))
        rate = limits.rate or math.inf
        self._bucket = TokenBucket(rate, burst=_burst(rate))
        self._adaptive = Adaptive(self.ceiling)
        self._running = self._adapting = 0
        self._waiting = Turns[bool](self._admit, self._give_back)
        self._timer: asyncio.TimerHandle | None = None
        self._since = -math.inf
        self.in_flight = 0

    @property
    def is_crowded(self) -> bool:
        """Whether a further request would have to wait for others."""
        return bool(self._waiting) or self.in_flight >= self.limit

    def enter_now(self, pause: Pause) -> float | None:
        """Pass, if nobody waits and *pause* and the limits allow it; return the time, as `enter` does."""
        now = time.monotonic()
        connections = self.connections
        if (
            pause.until > now
            or self.in_flight >= self.limit
            or connections.free < 1
            or self._waiting.queue
            or connections.waiting.queue
            or self._bucket.delay(now)
        ):
            return None
        self._bucket.take()
        connections.free -= 1
        self.in_flight += 1
        return now

    def enter_first(self) -> float:
        """Pass whatever the limits say, as those who are in flight wait for this one; return as `enter` does."""
        self.connections.free -= 1
        self.in_flight += 1
        return time.monotonic()

    async def enter(self, pause: Pause, patience: float) -> float:
        """Wait for the end of *pause* and for a turn, and return when it came, which `leave` wants to know.

        Args:
            pause: that of the origin of the request.
            patience: seconds of a pause that are worth waiting for.

        Raises:
            PauseError: it is a longer one.
        """
        while True:
            await pause.wait(patience)
            await self._waiting.wait(True)
            try:
                await self.connections.take()
            except asyncio.CancelledError:
                self._give_back(True)
                self._admit()
                raise
            if not pause.left:
                return time.monotonic()
            # It has begun meanwhile.
            self.connections.give_back()
            self._give_back(True)
            self._admit()

    def leave(self, verdict: Verdict, entered: float, *, of: str) -> None:
        """Make room, and take note of how it went.

        Args:
            verdict: what the reply says about the load on the service.
            entered: what `enter` returned.
            of: what was asked for: latencies of different operations are not compared.
        """
        if entered < self._since:
            return  # of another loop, whose places are given away
        if self._adapting:
            now = time.monotonic()
            self._adaptive.reply(verdict, of=of, sent=entered, now=now, in_flight=self.in_flight)
            self._follow(now)
        self.in_flight -= 1
        self.connections.give_back()
        if self._waiting.queue:
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
        """End all pauses and let everybody pass, as the client is closed, which they will notice."""
        self.pauses.end()
        while self._waiting.first() is not None:
            self._pass()
        self.connections.open()

    def reset(self) -> None:
        """Begin anew in another loop: nobody who waits or is in flight will come back from the old one."""
        self.pauses.forget()
        self.connections = Connections(self._connections)  # what is given back to the former ones does not count
        self._waiting.clear()
        self._timer = None
        self.in_flight = 0
        self._since = time.monotonic()

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

    def _give_back(self, _: bool) -> None:
        self.in_flight -= 1
        self._bucket.give_back()


def _burst(rate: float) -> float:
    return max(1.0, rate * _BURST)
