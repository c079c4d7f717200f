"""How fast a client may call: pure decisions, the time is passed in.

Three limits, which all calls of a client and its clones share: requests per second (`TokenBucket`), requests in flight,
and what `Adaptive` finds out about the service. Waiting is done elsewhere, in `ioto_async.transport.limiter`.
"""

import math
from enum import Enum
from typing import Final

import attrs

from ..settings import is_number, must_be, or_none, whole_number

__all__ = ["Adaptive", "Limits", "TokenBucket", "Verdict"]

_OF: Final = "Limits"


@attrs.frozen
class Limits:
    """What the calls of a client may use at most, all of them together.

    A request that is sent again counts again, but for one that is replayed with a new login token. Transfers through
    signed URLs do not count, as they do not go to the API.
    """

    rate: float | None = attrs.field(
        default=None,
        validator=must_be(
            "requests a second above 0, or None",
            lambda value: value is None or (is_number(value) and 0 < value < math.inf),
            of=_OF,
        ),
    )
    """Requests a second; None for no limit."""
    in_flight: int | None = attrs.field(default=None, validator=or_none(whole_number(1, of=_OF)))
    """Requests that are sent and not answered yet; None for no limit."""


class TokenBucket:
    """Gives *rate* tokens a second and keeps no more than *burst* of them.

    Attributes:
        rate: tokens a second; infinity for no limit.
        burst: tokens that a quiet time may save up.
    """

    __slots__ = ("_now", "_tokens", "burst", "rate")

    def __init__(self, rate: float, *, burst: float = 1.0) -> None:
        self.rate = rate
        self.burst = burst
        self._tokens = burst
        self._now = -math.inf

    def delay(self, now: float) -> float:
        """Seconds until there is a token, 0 if there is one at *now*."""
        if self.rate == math.inf:
            return 0.0
        if now > self._now:
            elapsed = now - self._now
            self._tokens = min(self.burst, self._tokens + elapsed * self.rate)
            self._now = now
        # A hair below a whole token is one: what is added up in small parts seldom makes 1 exactly.
        return 0.0 if self._tokens > 1 - 1e-6 else (1 - self._tokens) / self.rate

    def take(self) -> None:
        """Take a token, after `delay` has said that there is one."""
        if self.rate != math.inf:
            self._tokens -= 1.0

    def give_back(self) -> None:
        """Put a token back that was not used."""
        if self.rate != math.inf:
            self._tokens = min(self.burst, self._tokens + 1.0)

    def change(self, now: float, rate: float, burst: float) -> None:
        """Go on with another *rate* and *burst* from *now*."""
        self.delay(now)  # what has come in until now did so at the old rate
        if self.rate == math.inf:
            self._tokens, self._now = 0.0, now
        self.rate, self.burst = rate, burst
        self._tokens = min(self._tokens, burst)


class Verdict(Enum):
    """What a reply, or the lack of one, says about the load on the service."""

    SERVED = "served"
    """It did what was asked, or refused it for what it was."""
    THROTTLED = "throttled"
    """429 or 503: too many requests."""
    OVERLOADED = "overloaded"
    """No reply in time, or no connection."""
    SILENT = "silent"
    """Nothing: the call was cancelled, or its failure has other reasons."""


_RATE_CUT: Final = 0.8
"""What is left of the rate after a refusal."""
_LATE_CUT: Final = 0.5
"""What is left of the requests in flight after a time-out ..."""
_SLOW_CUT: Final = 0.8
"""... and after a rise of the latency."""
_RETURN: Final = (0.25, 4.0)
"""Seconds until the rate is back where it was refused: as long as it was good for, but within these bounds."""
_WINDOW: Final = 0.5
"""Seconds over which the rate of served requests is measured."""
_MEMORY: Final = 30.0
"""Seconds after which a low latency is forgotten."""
_RISE: Final = 2.0
"""How many times the low latency is a rise ..."""
_SLACK: Final = 0.005
"""... and how many seconds are none."""
_BATCH: Final = 16
"""Replies that are looked at together: under load all of them are slow, while some may be at any time."""
_LOW: Final = 8
"""Which of a batch, from below, counts as its low latency: one quick reply, such as an error, is no measure."""


class Adaptive:
    """Finds out how much a service can do: additive increase, multiplicative decrease.

    Two quantities are steered. Requests in flight rise by one in each round trip (they double until they first fall),
    as long as they are used, and fall after time-outs and when the latency rises. Requests a second are unlimited until
    the service refuses some for being too many; then they fall below what it served, and return on a cubic curve:
    quickly at first, slowly around the rate that was refused, and faster again beyond it, should the service have
    grown.

    One overload means one decrease: replies to requests that were sent before the last one are not counted again.

    Args:
        ceiling: requests in flight at most.

    Attributes:
        limit: requests in flight that are allowed now.
        rate: requests a second that are allowed now; infinity for any number.
        ceiling: see above.
    """

    __slots__ = (
        "_cut",
        "_doubling",
        "_latencies",
        "_meter",
        "_refused_at",
        "_refused_rate",
        "_return",
        "ceiling",
        "limit",
        "rate",
    )

    def __init__(self, ceiling: int, *, start: int = 4) -> None:
        self.ceiling = ceiling
        self.limit = float(min(start, ceiling))
        self.rate = math.inf
        self._doubling = True
        self._cut = self._refused_at = -math.inf
        self._refused_rate = math.inf
        self._return = _RETURN[0]
        self._meter = _Meter(_WINDOW)
        self._latencies: dict[str, _Latency] = {}

    def reply(self, verdict: Verdict, *, of: str, sent: float, now: float, in_flight: int) -> None:
        """Take note of the end of a request.

        Args:
            verdict: what it says.
            of: what was asked for.
            sent: when the request was sent.
            now: the time now.
            in_flight: requests in flight until now, this one among them.
        """
        if self._refused_at == -math.inf:
            self._refused_at = sent  # the rate was good since the first request
        if verdict is Verdict.SERVED:
            self._meter.count(now)
            self._rise(now)
            if self._is_slow(of, sent, now):
                self._lower(_SLOW_CUT, now)
            elif in_flight + 1 > self.limit:
                self.limit = min(self.limit + (1.0 if self._doubling else 1.0 / self.limit), float(self.ceiling))
        elif sent <= self._cut:
            return
        elif verdict is Verdict.THROTTLED:
            self._refused_rate = max(min(self.rate, self._meter.rate(now)), 1.0)
            self.rate = self._refused_rate * _RATE_CUT
            self._return = min(max(now - self._refused_at, _RETURN[0]), _RETURN[1])
            self._cut = self._refused_at = now
        elif verdict is Verdict.OVERLOADED:
            self._lower(_LATE_CUT, now)

    def _lower(self, factor: float, now: float) -> None:
        self.limit = max(self.limit * factor, 1.0)
        self._cut = now
        self._doubling = False

    def _rise(self, now: float) -> None:
        if self.rate == math.inf:
            return
        progress = (now - self._refused_at) / self._return - 1.0
        rate = self._refused_rate * (1.0 + (1.0 - _RATE_CUT) * progress**3)
        # Not far beyond what is used: nothing is learnt from a rate that nobody asks for.
        self.rate = max(self.rate, min(rate, 2.0 * self._meter.rate(now)))

    def _is_slow(self, of: str, sent: float, now: float) -> bool:
        latency = self._latencies.get(of)
        if latency is None:
            latency = self._latencies[of] = _Latency()
        return latency.note(now - sent, now, since=self._cut, sent=sent)


class _Latency:
    """The latency of one operation: what it lately was at its lowest, and whether it has risen above that."""

    __slots__ = ("_batch", "_low")

    def __init__(self) -> None:
        self._batch: list[float] = []
        self._low = _Lowest(_MEMORY)

    def note(self, latency: float, now: float, *, since: float, sent: float) -> bool:
        """Take note of a reply; true if those since the last cut show a rise."""
        if sent <= since:
            self._batch.clear()  # of before the cut
            return False
        self._batch.append(latency)
        if len(self._batch) < _BATCH:
            return False
        self._batch.sort()
        low = self._low.note(self._batch[_LOW - 1], now)
        slow = self._batch[0] > _RISE * low + _SLACK
        self._batch.clear()
        return slow


class _Meter:
    """How many events there were a second, lately: those of the present window and of the one before."""

    __slots__ = ("_before", "_began", "_count", "_window")

    def __init__(self, window: float) -> None:
        self._window = window
        self._began = -math.inf
        self._count = self._before = 0

    def _turn(self, now: float) -> None:
        elapsed = now - self._began
        if elapsed >= self._window:
            self._before = self._count if elapsed < 2 * self._window else 0
            self._count = 0
            self._began = now if elapsed >= 2 * self._window else self._began + self._window

    def count(self, now: float) -> None:
        self._turn(now)
        self._count += 1

    def rate(self, now: float) -> float:
        self._turn(now)
        elapsed = now - self._began
        # Of the window before counts what still lies within one window from now.
        seconds = max(elapsed, 0.05) if not self._before else self._window
        return (self._count + self._before * (1.0 - elapsed / self._window)) / seconds


class _Lowest:
    """The lowest of the values of the last *memory* to twice *memory* seconds."""

    __slots__ = ("_before", "_began", "_memory", "_now")

    def __init__(self, memory: float) -> None:
        self._memory = memory
        self._began = -math.inf
        self._now = self._before = math.inf

    def note(self, value: float, now: float) -> float:
        if now - self._began >= self._memory:
            self._before, self._now, self._began = self._now, math.inf, now
        self._now = min(self._now, value)
        return min(self._now, self._before)
