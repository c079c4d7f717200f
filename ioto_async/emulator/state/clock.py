"""The one clock of all clouds, which a test can move on."""

import math
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

__all__ = ["Clock", "in_seconds"]

_END: Final = datetime(9999, 12, 31, tzinfo=UTC).timestamp()


class Clock:
    """The real time, or what is put in its place, and how far it was moved on. Called, it gives epoch seconds.

    Attributes:
        source: gives the time that it is ahead of, in epoch seconds.
        ahead: how many seconds it is ahead.
        moved: called with the seconds after each move, in the thread that moves it.
    """

    def __init__(self) -> None:
        self.source: Callable[[], float] = time.time
        self.ahead = 0.0
        self.moved: Final[list[Callable[[float], None]]] = []

    def __call__(self) -> float:
        """Return the time in epoch seconds."""
        return self.source() + self.ahead

    def replace(self, source: Callable[[], float]) -> None:
        """Let *source* give the time; what it was moved on by is forgotten."""
        self.source, self.ahead = source, 0.0

    def move(self, seconds: float) -> None:
        """Move on by *seconds*.

        Raises:
            ValueError: *seconds* is negative or not finite, or the time would be beyond the year 9999.
        """
        if not math.isfinite(seconds) or seconds < 0:
            raise ValueError(f"expected seconds, 0 or more, got {seconds!r}: time does not go back")
        if self() + seconds >= _END:
            raise ValueError(f"{seconds!r} seconds lead beyond the year 9999")
        self.ahead += seconds
        for listener in self.moved:
            listener(seconds)


def in_seconds(span: float | timedelta) -> float:
    """Return a span of time in seconds."""
    return span.total_seconds() if isinstance(span, timedelta) else span
