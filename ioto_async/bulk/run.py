"""What all bulk runs are to whoever iterates over them. Imports errors and outcome."""

import weakref
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator
from types import TracebackType
from typing import TYPE_CHECKING, Generic, Self, TypeVar

from ..errors import ClientStateError
from .outcome import Outcome, Summary

if TYPE_CHECKING:
    import asyncio

__all__ = ["Run"]

Item = TypeVar("Item")
Value = TypeVar("Value")


class Run(ABC, Generic[Item, Value]):
    """A run that is iterated over once; ``async with`` has it ended when the block is left.

    Attributes:
        summary: the outcomes so far, by number.
    """

    def __init__(self) -> None:
        self.summary = Summary()
        # Weak, so that the iteration ends as soon as its loop is left.
        self._iteration: weakref.ref[AsyncGenerator[Outcome[Item, Value], None]] | None = None
        self._ended: asyncio.Event | None = None

    @abstractmethod
    def _outcomes(self) -> AsyncGenerator[Outcome[Item, Value], None]:
        """The iteration; makes ``_ended`` when it begins, and sets it at its end."""

    def __aiter__(self) -> AsyncIterator[Outcome[Item, Value]]:
        if self._iteration is not None:
            raise ClientStateError("a bulk run can be iterated over once")
        iteration = self._outcomes()
        self._iteration = weakref.ref(iteration)
        return iteration

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        iteration = self._iteration() if self._iteration is not None else None
        if iteration is not None:
            await iteration.aclose()
        if self._ended is not None:  # its loop was left, and its end is on its way
            await self._ended.wait()

    def raise_for_failures(self) -> None:
        """Raise the errors of the outcomes so far together.

        Raises:
            ExceptionGroup: an item failed or is unknown.
        """
        self.summary.raise_for_failures()
