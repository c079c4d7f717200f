"""What becomes of the items of a bulk run."""

import weakref
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator
from types import TracebackType
from typing import TYPE_CHECKING, Generic, Self, TypeVar

from ..errors import ClientStateError
from ..transport.shared import Shared

if TYPE_CHECKING:
    import asyncio

from datetime import datetime
from typing import Final, Literal

import attrs

__all__ = ["Outcome", "Progress", "Run", "Status", "Summary"]


Item = TypeVar("Item")
Value = TypeVar("Value")

Status = Literal["ok", "failed", "unknown", "skipped"]

_KEPT: Final = 100
"""Errors that a summary keeps; a million of them would be most of the memory of a run."""


@attrs.define
class Outcome(Generic[Item, Value]):
    """What became of one item; do not change it."""

    # Not frozen: that would take three times as long to make, and a run makes one for each item.
    item: Item
    key: str
    """What tells the item from all others: see ``key`` of `Bulk`."""
    status: Status
    """``ok``; ``failed``; ``unknown``: sent and not known to be done; ``skipped``: the journal knows it as done."""
    value: Value | None = None
    """What the call returned; None where it did not return, or did so before and the journal does not keep it."""
    error: Exception | None = None
    """What the call raised; an `EarlierError` where it did so before."""
    attempts: int = 0
    """Calls for the item, and the requests that they have sent again; 0 if this run has sent nothing."""
    elapsed: float = 0.0
    """Seconds that the calls took."""
    done_at: datetime | None = None
    """When an earlier run did a skipped item, in UTC; None for any other, or if the journal does not say so."""

    @property
    def ok(self) -> bool:
        """Whether the call has succeeded in this run; one that the journal knows as done is ``skipped``."""
        return self.status == "ok"


@attrs.define
class Summary:
    """The outcomes of a run by number, those that were iterated over."""

    ok: int = 0
    failed: int = 0
    unknown: int = 0
    skipped: int = 0
    attempts: int = 0
    """Of all outcomes together."""
    stopped: str | None = None
    """Why the run has ended before its items; None if it has not."""
    errors: list[Exception] = attrs.field(factory=list, repr=False)
    """The first of the errors, each with a note that tells the key of its item."""

    @property
    def done(self) -> int:
        """Outcomes of any sort."""
        return self.ok + self.failed + self.unknown + self.skipped

    def count(self, outcome: Outcome[Item, Value]) -> None:
        """Add an *outcome*."""
        status = outcome.status
        self.attempts += outcome.attempts
        if status == "ok":
            self.ok += 1
            return
        if status == "skipped":
            self.skipped += 1
            return
        if status == "failed":
            self.failed += 1
        else:
            self.unknown += 1
        is_known = bool(self.errors) and self.errors[-1] is outcome.error  # of another item of the same request
        if outcome.error is not None and not is_known and len(self.errors) < _KEPT:
            note = f"item {outcome.key}: {status}"
            if note not in getattr(outcome.error, "__notes__", ()):
                outcome.error.add_note(note)
            self.errors.append(outcome.error)

    def raise_for_failures(self) -> None:
        """Raise the `errors` together, if an item failed or is unknown.

        Raises:
            ExceptionGroup: its text has the numbers.
        """
        if self.errors:
            text = f"{self.failed} of {self.done} items failed"
            if self.unknown:
                text += f", {self.unknown} are unknown"
            if len(self.errors) < self.failed + self.unknown:
                text += f"; the first {len(self.errors)} errors"
            raise ExceptionGroup(text, self.errors)


@attrs.frozen
class Progress:
    """How far a run is."""

    summary: Summary
    """The run's own; it goes on counting."""
    total: int | None
    """Items, if that is known."""
    elapsed: float
    """Seconds since the run began."""
    rate: float
    """Outcomes a second, lately."""
    in_flight: int
    """Calls that have begun and not ended."""
    concurrency: int
    """Calls that may be in flight now."""
    paused: float = 0.0
    """Seconds for which all calls wait, as the service has asked for it."""

    @property
    def eta(self) -> float | None:
        """Seconds until the end, if the run goes on as it does; None if that cannot be told."""
        if self.total is None or not self.rate or self.paused or self.summary.stopped is not None:
            return None
        return max(self.total - self.summary.done, 0) / self.rate


class Run(Shared, ABC, Generic[Item, Value]):
    """A run that is iterated over once; ``async with`` has it ended when the block is left.

    Attributes:
        summary: the outcomes so far, by number.
    """

    def __init__(self) -> None:
        self.summary = Summary()
        # Weak, so that the iteration ends as soon as its loop is left.
        self._iteration: weakref.ref[AsyncGenerator[Outcome[Item, Value], None]] | None = None
        self._ended: asyncio.Event | None = None
        self._close_error: Exception | None = None
        """What went wrong at the end of a loop that was left early."""

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
        if error is None and self._close_error is not None:
            raise self._close_error

    def raise_for_failures(self) -> None:
        """Raise the errors of the outcomes so far together.

        Raises:
            ExceptionGroup: an item failed or is unknown.
        """
        self.summary.raise_for_failures()
