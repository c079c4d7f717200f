"""One run over the rows of a file: what ``fleet …``, ``metric export`` and ``metric write`` have in common."""

import asyncio
import signal
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Final, Generic, ParamSpec, Protocol, Self, TypeVar

import attrs

from ..bulk import EarlierError, Outcome, Progress
from ..errors import AuthenticationError, CallError, ConnectionFailedError, IotoError, TokenProviderError
from ..transport.effects import EFFECTS, waiting
from .command_line import command_line, text_of
from .options import RunOptions
from .report import Failures, ProgressBar, print_report
from .rows import BadRow, FileRow, RowError, Source, checked
from .signals import told_of_ending_signals

__all__ = ["AUTH_ERRORS", "BulkRun", "CircuitBreaker", "Ending", "FileRun", "UnreachableError"]

P = ParamSpec("P")
R = TypeVar("R", bound=FileRow)
T = TypeVar("T")

AUTH_ERRORS: Final = (AuthenticationError, TokenProviderError)
"""Errors that every other row would meet as well."""

_GRACE: Final = 10.0
"""Seconds that calls in flight have to end after the first signal."""
_PAUSE: Final = 1.0
"""Seconds before a row is called for again that was not delivered."""


class BulkRun(Protocol[R, T]):
    """A bulk run, wherever its calls are made."""

    def __aiter__(self) -> AsyncIterator[Outcome[R, T]]:
        """Its outcomes."""

    def stop(self, reason: str, *, grace: float | None) -> None:
        """Begin no further row, and cancel the calls in flight after *grace* seconds."""


@attrs.define(kw_only=True, eq=False)
class FileRun(ABC, Generic[R, T]):
    """A run over the rows of a file or a pipe.

    Rows that cannot be used fail before the bulk run, which has an outcome for each of the others. The first of the
    signals that end a command ends the run when the calls in flight have ended, the second at once.
    """

    NAMELESS: ClassVar = "no id"
    """What messages call a row whose label cannot be read."""

    title: str
    source: Source[R]
    options: RunOptions
    counts: dict[str, int]
    """The figures, of which the first counts all rows."""
    journal: Path | None = None
    """Path of the journal; None if none is kept."""
    uses_stdout: bool = False
    """Whether results go to stdout, so that the figures go to stderr."""
    progress: ProgressBar = attrs.field(init=False)
    failures: Failures = attrs.field(init=False)
    refused: int = attrs.field(default=0, init=False)
    """Rows that cannot be used."""
    earlier: int = attrs.field(default=0, init=False)
    """Rows that failed in an earlier run, and were not tried again."""
    dates: tuple[datetime, datetime] | None = attrs.field(default=None, init=False)
    """When earlier runs did the first and the last of the skipped rows; None if no journal says so."""
    error: IotoError | OSError | None = attrs.field(default=None, init=False)
    """What has ended the run, such as a full disk; None if nothing has."""
    interrupted_by: signal.Signals | None = attrs.field(default=None, init=False)
    """The first signal; None if there was none."""

    def __attrs_post_init__(self) -> None:
        # A bar and results on one terminal would overwrite each other.
        is_hidden = self.uses_stdout and sys.stdout.isatty()
        self.progress = ProgressBar(self.title, self.source.total, hidden=is_hidden)
        self.failures = Failures(self.progress.print)

    # What a command adds -------------------------------------------------------------------------------------------

    @abstractmethod
    def open_bulk(self, rows: Iterable[R] | AsyncIterable[R]) -> AbstractAsyncContextManager[BulkRun[R, T]]:
        """Open the bulk run over *rows*, whose observer is `observe`."""

    @abstractmethod
    def record(self, outcome: Outcome[R, T]) -> None:
        """Count and print what became of a row."""

    def check(self, row: R) -> None:
        """Check a *row* before anything is sent for it.

        Raises:
            RowError: it cannot be used.
        """

    def record_refused(self, row: R | BadRow, reason: str) -> None:
        """Print a *row* that cannot be used; it has been counted."""

    def summarize(self) -> None:
        """Print what the failures on stderr do not say."""

    # The run -------------------------------------------------------------------------------------------------------

    @property
    def is_stopped(self) -> bool:
        """Whether the run ended before all rows."""
        return self.error is not None or self.interrupted_by is not None

    async def run(self) -> None:
        """Go through all rows, or until an error or a signal ends that."""
        with self.progress:
            try:
                async with self.source.rows(self._accept) as rows, self.open_bulk(rows) as bulk:
                    with told_of_ending_signals(partial(self._interrupt, bulk)):
                        async for outcome in bulk:
                            self._take(outcome)
            except UnreachableError as unreachable:
                self.error = unreachable.error
            except (CallError, OSError) as error:
                self.error = error
            self.summarize()

    def report(self, figures: Mapping[str, object]) -> int:
        """Print the counts and further *figures*, and return the exit status.

        Raises:
            IotoError: what has ended the run.
            OSError: the same, or the figures cannot be printed.
        """
        figures = {**self.counts, **figures}
        if self.journal is not None:
            figures["journal"] = str(self.journal)
        if self.is_stopped:
            figures["stopped"] = (
                text_of(self.error) if self.interrupted_by is None else f"by {self.interrupted_by.name}"
            )
        try:
            print_report(figures, as_json=self.options.as_json, title=self.title, to_stderr=self.uses_stdout)
        except OSError:
            if not self.is_stopped:  # else the reason for that matters more
                raise
        if self.error is not None:
            raise self.error
        if self.interrupted_by is not None:
            return 128 + self.interrupted_by
        return int(any(self.counts.get(name) for name in ("failed", "unknown")))

    def observe(self, progress: Progress) -> None:
        """Show the *progress* of the bulk run."""
        self.progress.update(progress, self.refused)

    def fail(self, row: R | BadRow, error: str) -> None:
        """Print that a *row* has failed."""
        self.failures.add(row.line, row.label or self.NAMELESS, error)

    def again(self, *, retry_failed: bool) -> str:
        """How to go on when failures are mended, to be appended to a sentence.

        Args:
            retry_failed: whether the run tries again what has failed.

        Returns:
            An empty text if there is no journal to go on from, or the run was stopped, of which more is said elsewhere.
        """
        if self.journal is None or self.is_stopped:
            return ""
        more = () if retry_failed or self.counts["failed"] == self.refused else ("--retry-failed",)
        return f"; once that is mended, run {command_line(*more)}"

    def when_done(self) -> str:
        """When earlier runs did the skipped rows, to be appended to a sentence; empty if that is not known."""
        if self.dates is None:
            return ""
        first, last = (f"{date:%Y-%m-%d %H:%M} UTC" for date in self.dates)
        return f" ({first})" if first == last else f" ({first} to {last})"

    def _accept(self, row: R | BadRow) -> R | None:
        try:
            return checked(row, self.check)
        except RowError as error:
            self.refused += 1
            self._count_row()
            self.counts["failed"] += 1
            self.record_refused(row, str(error))
            self.fail(row, str(error))
            return None

    def _take(self, outcome: Outcome[R, T]) -> None:
        error = outcome.error
        if error is not None and not isinstance(error, (IotoError, OSError)):
            raise error  # a defect, which is not the row's
        self._count_row()
        if (date := outcome.done_at) is not None:
            first, last = self.dates or (date, date)
            self.dates = min(first, date), max(last, date)
        self.earlier += outcome.status == "failed" and isinstance(error, EarlierError)
        self.record(outcome)

    def _count_row(self) -> None:
        self.counts[next(iter(self.counts))] += 1

    def _interrupt(self, bulk: BulkRun[R, T], number: signal.Signals) -> None:
        is_first = self.interrupted_by is None
        bulk.stop(f"by {number.name}", grace=_GRACE if is_first else 0)
        if is_first:
            self.interrupted_by = number
            self.progress.print(
                f"{number.name}: waiting up to {_GRACE:g} s for what is in flight; once more ends it at once"
            )


class Ending:
    """Closes the files of a run: what goes wrong with that, such as on a full disk, ends the run and not its figures.

    Attributes:
        run: whose files they are, once it has begun.
    """

    run: FileRun[Any, Any] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if self.run is None or not isinstance(error, OSError):
            return False
        self.run.error = self.run.error or error
        return True


class UnreachableError(Exception):
    """The service, or the scheduler of a cluster, cannot be reached, for any row.

    Attributes:
        error: of the last row that failed.
    """

    def __init__(self, error: IotoError) -> None:
        super().__init__(str(error))
        self.error = error


class CircuitBreaker(Generic[P, T]):
    """Calls for rows, waits while the service is away, and gives up when that takes too long.

    A row that was not delivered is called for again. A service that no row has had an answer of is not waited for.

    Args:
        call: what is called for each row; what it has done may be done again.
        patience: seconds for which the service may be away.
        notice: called with a line of text when the service goes away.
    """

    def __init__(
        self, call: Callable[P, Awaitable[T]], patience: float, notice: Callable[[str], None] | None = None
    ) -> None:
        self._call = call
        self._patience = patience
        self._notice = notice
        self._is_reached = False
        self._away_since: float | None = None
        """When the service went away, as `time.monotonic` says; None if it is there."""

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Make the call.

        Raises:
            UnreachableError: it was not delivered, and the service cannot be reached.
        """
        began: float | None = None
        while True:
            try:
                value = await self._call(*args, **kwargs)
            except Exception as error:
                cause: BaseException = error
                if isinstance(error, RowError):  # the row had an answer before
                    self._is_reached = True
                    cause = error.__cause__ or error
                if not isinstance(cause, ConnectionFailedError):
                    self._answered()
                    raise
                now = time.monotonic()
                began = now if began is None else began
                if not self._is_reached or self._is_away_too_long(now, cause):
                    raise UnreachableError(cause) from error
                if now - began >= self._patience:  # while others had answers
                    raise
            else:
                self._answered()
                return value
            with waiting(EFFECTS.get()):
                await asyncio.sleep(_PAUSE)

    def _answered(self) -> None:
        self._is_reached, self._away_since = True, None

    def _is_away_too_long(self, now: float, cause: ConnectionFailedError) -> bool:
        if self._away_since is None:
            self._away_since = now
            if self._notice is not None:
                self._notice(f"waiting up to {self._patience:g} s for the service: {cause}")
        return now - self._away_since >= self._patience
