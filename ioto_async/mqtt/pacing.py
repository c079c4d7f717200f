"""How a device slows down when the cloud asks it to: a pure decision, the time is passed in. Imports nothing."""

from typing import Final

__all__ = ["Pacer"]

_FIRST: Final = 0.5
"""Seconds between two messages after a first throttle."""
_LONGEST: Final = 60.0
_HALF_LIFE: Final = 60.0
"""Seconds after which the interval is half of what it was."""
_SHORTEST: Final = 0.005
"""An interval below is none."""


class Pacer:
    """Spaces messages: the interval doubles with each throttle, and halves with each minute without one.

    The vendor's agent does the like; the cloud documents no figures.
    """

    __slots__ = ("_interval", "_last", "_since")

    def __init__(self) -> None:
        self._interval = 0.0
        self._since = 0.0
        self._last = 0.0

    def _current(self, now: float) -> float:
        if self._interval:
            interval: float = self._interval * 0.5 ** ((now - self._since) / _HALF_LIFE)
            if interval >= _SHORTEST:
                return interval
            self._interval = 0.0
        return 0.0

    def throttle(self, now: float) -> None:
        """Take note that the cloud asks for less."""
        self._interval = min(max(self._current(now) * 2, _FIRST), _LONGEST)
        self._since = self._last = now

    def delay(self, now: float) -> float:
        """Seconds until the next message may go, 0 if it may at *now*."""
        if not self._interval:
            return 0.0
        return max(self._last + self._current(now) - now, 0.0)

    def sent(self, now: float) -> None:
        """Take note that a message went."""
        self._last = now
