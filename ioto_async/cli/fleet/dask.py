"""A run on the workers of a Dask cluster."""

from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from ...bulk import Progress
from ...errors import InvalidArgumentError
from ...transport.limits import Limits
from ..options import UNATTENDED, FleetOptions
from ..rows import Row
from ..run import AUTH_ERRORS, CircuitBreaker, UnreachableError
from .jobs import Client, Done, Job, JobSettings
from .journal import journal_name

if TYPE_CHECKING:
    from ...distributed import DistributedBulk

__all__ = ["dask_bulk"]

_TIMEOUT: Final = 10.0
"""Seconds that a scheduler has to answer."""


@asynccontextmanager
async def dask_bulk(
    job: Job[Client],
    rows: Iterable[Row] | AsyncIterable[Row],
    settings: JobSettings,
    options: FleetOptions,
    journal: Path | None,
    observer: Callable[[Progress], None],
) -> "AsyncGenerator[DistributedBulk[Row, Done], None]":
    """The bulk run that does *job* for *rows* on the cluster that the options name.

    Raises:
        InvalidArgumentError: Dask is not installed, or the cluster is not reached.
    """
    try:
        import distributed

        from ... import distributed as ioto_distributed
    except ModuleNotFoundError as error:
        raise InvalidArgumentError(f"--dask: {error}") from None
    if settings.out is not None:
        settings = attrs.evolve(settings, out=settings.out.absolute())
    address = options.dask or ""
    cluster = distributed.Client(address, asynchronous=True, set_as_default=False, timeout=_TIMEOUT)
    try:
        await cluster
    except (OSError, ValueError) as error:
        await cluster.close()
        raise InvalidArgumentError(f"--dask: no scheduler at {address}: {error}") from None
    async with cluster:
        bulk = ioto_distributed.bulk(
            cluster,
            partial(_call, call=CircuitBreaker(job.call, options.concurrency), settings=settings),
            rows,
            journal=journal,
            name=journal_name(job, options),
            key=attrgetter("key"),
            concurrency=options.concurrency,
            rate=options.limits().rate,
            kind=job.kind,
            through_client=True,
            retry_failed=options.retry_failed,
            reconcile=None if job.reconcile is None else partial(_look_up, job=job, settings=settings),
            stop_on=(*AUTH_ERRORS, UnreachableError),
            observer=observer,
            connect=partial(_connect, job=job, settings=settings, connections=options.connections),
        )
        async with bulk:
            yield bulk


# On a worker -------------------------------------------------------------------------------------------------------


def _connect(limits: Limits, *, job: Job[Client], settings: JobSettings, connections: int) -> Client:
    return job.client(settings, {**UNATTENDED, "limit": connections, "limits": limits})


async def _call(client: Client, row: Row, *, call: CircuitBreaker[..., Done], settings: JobSettings) -> Done:
    return await call(client, row, settings)


async def _look_up(client: Client, row: Row, *, job: Job[Client], settings: JobSettings) -> bool | None:
    return None if job.reconcile is None else await job.reconcile(client, row, settings)
