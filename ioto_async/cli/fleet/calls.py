"""Where the calls of a run are made, and when no more of them make sense. Imports jobs, options and bulk."""

from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from pathlib import Path
from typing import Final, Generic, ParamSpec

from ...bulk import Bulk, Progress
from ...errors import ConnectionFailedError
from .jobs import REFUSED, Client, Done, Job, JobSettings
from .ledger import name_of
from .options import RunOptions
from .rows import Row, RowError

__all__ = ["Reaching", "Unreachable", "calls", "patience_of"]

P = ParamSpec("P")

_PATIENCE: Final = 16
"""Rows one after the other that a service does not answer before it counts as gone."""


def calls(
    job: Job[Client],
    client: Client,
    rows: Iterable[Row] | AsyncIterable[Row],
    settings: JobSettings,
    options: RunOptions,
    journal: Path | None,
    observer: Callable[[Progress], None],
) -> Bulk[Row, Done]:
    """The bulk run that does *job* for *rows* on this machine; it ends with an error of `REFUSED`, or `Unreachable`."""

    async def call(row: Row) -> Done:
        return await job.call(client, row, settings)

    async def look_up(row: Row) -> bool | None:
        return None if job.reconcile is None else await job.reconcile(client, row, settings)

    return client.bulk(
        Reaching(call, patience_of(options)),
        rows,
        concurrency=options.concurrency,
        journal=journal,
        name=None if journal is None else name_of(job, options),
        key=_id_of,
        kind=job.kind,
        reconcile=None if job.reconcile is None else look_up,
        retry_failed=options.retry_failed,
        stop_on=(*REFUSED, Unreachable),
        observer=observer,
    )


def patience_of(options: RunOptions) -> int:
    """Rows one after the other that must not be answered before the service counts as gone."""
    return _PATIENCE if options.concurrency == "auto" else min(options.concurrency, _PATIENCE)


def _id_of(row: Row) -> str:
    return row.id


class Unreachable(Exception):
    """The service is not there, for no row."""

    def __init__(self, error: ConnectionFailedError) -> None:
        super().__init__(str(error))
        self.error = error


class Reaching(Generic[P]):
    """Tells a service that is gone from a connection that failed: it never answered, or not for *patience* rows."""

    def __init__(self, call: Callable[P, Awaitable[Done]], patience: int) -> None:
        self._call = call
        self._patience = patience
        self._reached = False
        self._unreached = 0

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Done:
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
