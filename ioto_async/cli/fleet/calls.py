"""Where the calls of a run are made, and when no more of them make sense. Imports jobs, options and bulk."""

from collections.abc import AsyncIterable, Callable, Iterable
from pathlib import Path

from ...bulk import Bulk, Progress
from ..running.reaching import REFUSED, Reaching, Unreachable, patience_of
from ..running.rows import Row
from .jobs import Client, Done, Job, JobSettings
from .ledger import name_of
from .options import RunOptions

__all__ = ["calls"]


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
        Reaching(call, patience_of(options.concurrency)),
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


def _id_of(row: Row) -> str:
    return row.id
