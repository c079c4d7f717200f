"""A run on the workers of a Dask cluster."""

from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from ...bulk import Progress
from ...errors import InvalidArgumentError
from ...transport.limits import Limits
from ..options import RunOptions
from ..rows import Row
from ..run import REFUSED, Reaching, Unreachable, patience_of
from .jobs import Client, Done, Job, JobSettings
from .journal import name_of

if TYPE_CHECKING:
    from ...distributed import DistributedBulk

__all__ = ["spread"]

_TIMEOUT: Final = 10.0
"""Seconds that a scheduler has to answer."""


@asynccontextmanager
async def spread(
    address: str,
    job: Job[Client],
    rows: Iterable[Row] | AsyncIterable[Row],
    settings: JobSettings,
    options: RunOptions,
    journal: Path | None,
    observer: Callable[[Progress], None],
    *,
    limit: int,
) -> "AsyncGenerator[DistributedBulk[Row, Done], None]":
    """The bulk run that does *job* for *rows* on the cluster at *address*; it ends as `calls` does.

    Raises:
        InvalidArgumentError: Dask is not installed, or the cluster is not reached.
    """
    try:
        import distributed

        from ... import distributed as machines
    except ModuleNotFoundError as error:
        raise InvalidArgumentError(f"--dask: {error}") from None
    if settings.out is not None:
        settings = attrs.evolve(settings, out=settings.out.absolute())
    reaching = Reaching(job.call, patience_of(options.concurrency))
    cluster = distributed.Client(address, asynchronous=True, set_as_default=False, timeout=_TIMEOUT)
    try:
        await cluster
    except (OSError, ValueError) as error:
        await cluster.close()
        raise InvalidArgumentError(f"--dask: no scheduler at {address}: {error}") from None
    async with cluster:
        run = machines.bulk(
            cluster,
            partial(_call, reaching=reaching, settings=settings),
            rows,
            journal=journal,
            name=name_of(job, options),
            key=_id_of,
            concurrency=options.concurrency,
            rate=options.limits().rate,
            kind=job.kind,
            through_client=True,
            retry_failed=options.retry_failed,
            reconcile=None if job.reconcile is None else partial(_look_up, job=job, settings=settings),
            stop_on=(*REFUSED, Unreachable),
            observer=observer,
            connect=partial(_connect, job=job, settings=settings, limit=limit),
        )
        async with run:
            yield run


def _id_of(row: Row) -> str:
    return row.id


# On a worker -------------------------------------------------------------------------------------------------------


def _connect(limits: Limits, *, job: Job[Client], settings: JobSettings, limit: int) -> Client:
    return job.client(settings, {"limit": limit, "limits": limits})


async def _call(client: Client, row: Row, *, reaching: Reaching[..., Done], settings: JobSettings) -> Done:
    return await reaching(client, row, settings)


async def _look_up(client: Client, row: Row, *, job: Job[Client], settings: JobSettings) -> bool | None:
    return None if job.reconcile is None else await job.reconcile(client, row, settings)
