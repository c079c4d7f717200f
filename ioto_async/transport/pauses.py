"""Pauses: for how long an origin wants to see no requests, and who waits for the end of that."""

import asyncio
import logging
import time

from yarl import URL

from .tasks import Turns

__all__ = ["Pause", "PauseError", "Pauses"]

logger = logging.getLogger("ioto_async")


class PauseError(Exception):
    """A pause is longer than somebody would wait; *left* is in seconds."""

    def __init__(self, left: float) -> None:
        super().__init__(f"a pause of {left:g} s")
        self.left = left


class Pause:
    """The pause of one origin.

    Attributes:
        until: when it ends, as `time.monotonic` says; 0 if there is none.
    """

    __slots__ = ("_origin", "_timer", "_waiting", "until")

    def __init__(self, origin: URL) -> None:
        self._origin = origin
        self._timer: asyncio.TimerHandle | None = None
        self._waiting = Turns[float](self._admit, lambda _: None)
        """Those who wait, and how many seconds each would."""
        self.until = 0.0

    @property
    def left(self) -> float:
        """Seconds until the end, 0 if there is no pause."""
        return max(self.until - time.monotonic(), 0.0)

    def begin(self, seconds: float) -> None:
        """Pause for *seconds* from now, and refuse those who would not wait so long; a longer pause stays as it is."""
        if seconds <= self.left:
            return
        logger.info("%s asks for a pause: no requests for %g s", self._origin, seconds)
        self.until = time.monotonic() + seconds
        self._waiting.refuse(lambda: PauseError(seconds), lambda patience: patience < seconds)
        if self._waiting:
            self._admit()

    async def wait(self, patience: float) -> None:
        """Wait for the end.

        Args:
            patience: seconds that are worth waiting.

        Raises:
            PauseError: it takes longer.
        """
        left = self.left
        if left > patience:
            raise PauseError(left)
        if left:
            await self._waiting.wait(patience)

    def end(self) -> None:
        """End the pause now."""
        self.until = 0.0
        self._admit()

    def forget(self) -> None:
        """End the pause, and forget those who wait, as their loop has ended."""
        self.until = 0.0
        self._timer = None
        self._waiting.clear()

    def _admit(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting = self._waiting.first() is not None
        if (left := self.left) and waiting:
            self._timer = asyncio.get_running_loop().call_later(left, self._admit)
        elif not left:
            self.until = 0.0
            while self._waiting.first() is not None:
                self._waiting.grant()


class Pauses:
    """The pauses of all origins that the calls of a pool go to."""

    __slots__ = ("_by_origin",)

    def __init__(self) -> None:
        self._by_origin: dict[URL, Pause] = {}

    def of(self, url: URL) -> Pause:
        """The pause of the origin of *url*, always the same one."""
        origin = url.origin()
        return self._by_origin.setdefault(origin, Pause(origin))

    @property
    def left(self) -> float:
        """Seconds until the last of them ends."""
        return max((pause.left for pause in self._by_origin.values()), default=0.0)

    def end(self) -> None:
        """End all, as the pool is closed."""
        for pause in self._by_origin.values():
            pause.end()

    def forget(self) -> None:
        """End all in another loop: nobody will come back from the old one."""
        for pause in self._by_origin.values():
            pause.forget()
