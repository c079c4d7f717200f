"""Tells a service that is gone from a call that failed. Imports errors, and what is beside it."""

from collections.abc import Awaitable, Callable
from typing import Final, Generic, Literal, ParamSpec, TypeVar

from ...errors import AuthenticationError, ConnectionFailedError, TokenProviderError
from .rows import RowError

__all__ = ["REFUSED", "Reaching", "Unreachable", "patience_of"]

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
