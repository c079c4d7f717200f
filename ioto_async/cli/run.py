"""What the signals that end a process do to a run."""

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable, Iterator
from typing import Final, Generic, Literal, ParamSpec, Protocol, TypeVar

from ..errors import AuthenticationError, ConnectionFailedError, TokenProviderError
from .rows import RowError

__all__ = ["REFUSED", "Failures", "Interruption", "Reaching", "Screen", "Unreachable", "patience_of"]


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


_SHOWN: Final = 20


class Screen(Protocol):
    """Where failures are told, such as a `ProgressBar`."""

    def say(self, text: str) -> None:
        """Print a line."""


class Failures:
    """Tells of the first failures of a run, and counts the others."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._count = 0

    def tell(self, line: int, what: str, error: str) -> None:
        """Tell that the row on *line* has failed, and why."""
        self._count += 1
        if self._count <= _SHOWN:
            self._screen.say(f"line {line}: {what}: {error}")

    def finish(self, hint: str) -> None:
        """Say how many were left out, and where these are to be seen."""
        if self._count > _SHOWN:
            self._screen.say(f"and {self._count - _SHOWN} more: {hint}")


P = ParamSpec("P")
T = TypeVar("T")

REFUSED: Final = (AuthenticationError, TokenProviderError)
"""What no other row would fare better with."""

_PATIENCE: Final = 16
"""Rows one after the other that a service does not answer before it counts as gone."""


def patience_of(concurrency: int | Literal["auto"]) -> int:
    """Rows one after the other that must not be answered before the service counts as gone."""
    return _PATIENCE if concurrency == "auto" else min(concurrency, _PATIENCE)


class Unreachable(Exception):
    """The service is not there, for no row."""

    def __init__(self, error: ConnectionFailedError) -> None:
        super().__init__(str(error))
        self.error = error


class Reaching(Generic[P, T]):
    """Tells a service that is gone from a connection that failed: it never answered, or not for *patience* rows."""

    def __init__(self, call: Callable[P, Awaitable[T]], patience: int) -> None:
        self._call = call
        self._patience = patience
        self._reached = False
        self._unreached = 0

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Do what was asked for, or raise `Unreachable`."""
        try:
            done = await self._call(*args, **kwargs)
        except Exception as error:
            # A row that failed on its way has had answers before.
            self._reached = self._reached or isinstance(error, RowError)
            cause = error.__cause__ if isinstance(error, RowError) else error
            if isinstance(cause, ConnectionFailedError):
                self._unreached += 1
                if not self._reached or self._unreached >= self._patience:
                    raise Unreachable(cause) from error
            else:
                self._reached, self._unreached = True, 0
            raise
        self._reached, self._unreached = True, 0
        return done
