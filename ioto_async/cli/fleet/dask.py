"""A run on the workers of a Dask cluster."""

import logging
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from ...bulk import Progress
from ...errors import InvalidArgumentError, one_line
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
    print_line: Callable[[str], None],
) -> "AsyncGenerator[DistributedBulk[Row, Done], None]":
    """The bulk run that does *job* for *rows* on the cluster that the options name.

    Warnings, such as of lost workers, are printed as lines.

    Raises:
        InvalidArgumentError: Dask is not installed, the cluster is not reached, or none of its workers can take part.
        UnreachableError: the scheduler was lost.
    """
    try:
        import distributed

        from ... import distributed as ioto_distributed
    except ModuleNotFoundError as error:
        raise InvalidArgumentError(f"--dask: {error}") from None
    if settings.out is not None:
        settings = attrs.evolve(settings, out=settings.out.absolute())
    address = options.dask or ""
    try:
        comm = await distributed.connect(address, timeout=_TIMEOUT)
        await comm.close()
        cluster = distributed.Client(address, asynchronous=True, set_as_default=False, timeout=options.patience_seconds)
        await cluster
    except (OSError, ValueError) as error:
        raise InvalidArgumentError(f"--dask: no scheduler at {address}: {one_line(str(error))}") from None
    with _warnings(print_line):
        async with cluster:
            bulk = ioto_distributed.bulk(
                cluster,
                partial(_call, call=CircuitBreaker(job.call, options.patience_seconds), settings=settings),
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
            try:
                async with bulk:
                    yield bulk
            except ioto_distributed.LostSchedulerError as error:
                if journal is not None:
                    error.add_note(f"the same command goes on from {journal}")
                raise UnreachableError(error) from error


@contextmanager
def _warnings(print_line: Callable[[str], None]) -> Iterator[None]:
    """Print warnings as lines, in place of what Dask logs of the same."""
    handler = _Lines(print_line)
    loggers = [logging.getLogger(name) for name in ("distributed", "distributed.client")]
    levels = [logger.level for logger in loggers]
    logger = logging.getLogger("ioto_async")
    logger.addHandler(handler)
    for other in loggers:
        other.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        for other, level in zip(loggers, levels, strict=True):
            other.setLevel(level)


class _Lines(logging.Handler):
    """Prints each warning as a line."""

    def __init__(self, print_line: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._print = print_line

    def emit(self, record: logging.LogRecord) -> None:
        """Print a *record*."""
        self._print(one_line(record.getMessage()))


# On a worker -------------------------------------------------------------------------------------------------------


def _connect(limits: Limits, *, job: Job[Client], settings: JobSettings, connections: int) -> Client:
    if settings.out is not None and not settings.out.is_dir():
        raise InvalidArgumentError(f"--out: there is no folder {settings.out}")
    return job.client(settings, {**UNATTENDED, "limit": connections, "limits": limits})


async def _call(client: Client, row: Row, *, call: CircuitBreaker[..., Done], settings: JobSettings) -> Done:
    return await call(client, row, settings)


async def _look_up(client: Client, row: Row, *, job: Job[Client], settings: JobSettings) -> bool | None:
    return None if job.reconcile is None else await job.reconcile(client, row, settings)
