"""What the signals that end a process do to a run. Imports nothing of the package."""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator
from typing import Final, Protocol

__all__ = ["Interruption"]

_GRACE: Final = 10.0
"""Seconds that calls in flight have to end."""


class _Run(Protocol):
    def stop(self, reason: str, *, grace: float | None) -> None: ...


class Interruption:
    """SIGINT and SIGTERM end a run: the first when what is in flight is done, the second at once.

    Attributes:
        by: the first signal; None if there was none.
    """

    def __init__(self) -> None:
        self.by: signal.Signals | None = None

    @property
    def status(self) -> int:
        """The exit status that tells of it, 0 for none."""
        return 0 if self.by is None else 128 + self.by

    @contextlib.contextmanager
    def of(self, run: _Run, say: Callable[[str], None]) -> Iterator[None]:
        """Let the signals end *run* while the body runs, and *say* so."""
        loop = asyncio.get_running_loop()
        numbers = (signal.SIGINT, signal.SIGTERM)
        for number in numbers:
            loop.add_signal_handler(number, self._stop, run, say, number)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)

    def _stop(self, run: _Run, say: Callable[[str], None], number: signal.Signals) -> None:
        run.stop(f"by {number.name}", grace=_GRACE if self.by is None else 0)
        if self.by is None:
            self.by = number
            say(f"{number.name}: waiting up to {_GRACE:g} s for what is in flight; once more ends it at once")
